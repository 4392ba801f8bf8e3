#!/usr/bin/env bash
# Lint, types and all tests, in an environment that this script makes: bash tests/run.sh [--fast] [pytest arguments]
#   --fast   leaves out what takes long
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source utils/setup_venv.sh
setup_venv requirements-dev.txt

select=()
if [ "${1:-}" = --fast ]; then
    shift
    select=(-m "not slow")
fi
export SAMPLE_DATA=${SAMPLE_DATA:-$PWD/../shared/data}
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/python -m pytest "${select[@]}" "$@"
