#!/usr/bin/env bash
# Lint, types and all tests, in an environment that this script makes: bash tests/run.sh [--fast] [pytest arguments]
#   --fast   leaves out what takes long
# Horovod, Open MPI, DALI and the export packages are installed too, except with --fast. Where they cannot be had, their tests are skipped,
# and in continuous integration (CI in the environment) that is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source utils/shell/setup_venv.sh
setup_venv requirements/dev.txt

# A part of the environment that not every machine can have: optional_part NAME COMMAND...
optional_part() {
    local name=$1
    shift
    if "$@"; then
        return
    fi
    if [ "${CI:-false}" != false ]; then
        echo "$name could not be installed, and in continuous integration its tests must run: CI=$CI" >&2
        exit 1
    fi
    echo "$name could not be installed: what needs it is skipped" >&2
}

select=()
if [ "${1:-}" = --fast ]; then
    shift
    select=(-m "not slow")
else
    optional_part Horovod bash utils/install_horovod.sh .venv/bin/python
    optional_part DALI setup_venv requirements/dali.txt
    optional_part ONNX/LiteRT setup_venv requirements/export.txt
fi
export SAMPLE_DATA=${SAMPLE_DATA:-$PWD/../shared/data}
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest "${select[@]}" "$@"
