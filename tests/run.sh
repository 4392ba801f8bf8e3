#!/usr/bin/env bash
# Lint, types and all tests, in an environment that this script makes:
#
#   bash tests/run.sh [--fast | --coverage] [pytest arguments]
#   bash tests/run.sh tests/model/test_resnet.py
#
#   --fast       leaves out the slow tests
#   --coverage   runs all tests, more slowly, and prints the share of each package's lines that they run
#
# Tests run in two processes. If files, folders or tests are named, only those run: in one process, without lint and
# types, in the environment as it is. Horovod, Open MPI, DALI, the export packages and PyAV are installed too, except
# with --fast. If one cannot be installed, its tests are skipped; in continuous integration (CI is set) that is a
# failure.
set -euo pipefail
case "${1:-}" in
    --help | -h) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit ;;
esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source utils/shell/setup_venv.sh
setup_venv requirements/dev.txt

# Installs a part that not every machine can have: optional_part NAME COMMAND...
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
    echo "$name could not be installed: its tests are skipped" >&2
}

python=(.venv/bin/python)
options=()
fast=no coverage=no whole=yes
case "${1:-}" in
    --fast) fast=yes options=(-m "not slow") && shift ;;
    --coverage) coverage=yes python+=(-m coverage run) && shift ;;
esac
for argument in "$@"; do
    if [[ $argument = tests* ]] && [ -e "${argument%%::*}" ]; then
        whole=no
    fi
done

if [ "$whole" = yes ]; then
    options+=(-n 2 --no-loadscope-reorder)
    if [ "$fast" = no ]; then
        optional_part Horovod bash utils/install_horovod.sh .venv/bin/python
        optional_part DALI setup_venv requirements/dali.txt
        optional_part ONNX/LiteRT setup_venv requirements/export.txt
        optional_part PyAV setup_venv requirements/video.txt
    fi
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/mypy
fi
export SAMPLE_DATA=${SAMPLE_DATA:-$PWD/../shared/data}
"${python[@]}" -m pytest "${options[@]}" "$@"
if [ "$coverage" = yes ]; then
    .venv/bin/python -m coverage combine --quiet
    for package in model object_detection runtime utils tools; do
        total=$(.venv/bin/python -m coverage report --format=total --precision=1 --include="$package/*")
        printf '%-17s%s %% of the lines\n' "$package" "$total"
    done
fi
