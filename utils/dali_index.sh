#!/usr/bin/env bash
# Writes DALI's index files of all TFRecords in a folder: bash utils/dali_index.sh SRC DST
#
#   DRY_RUN=1   prints the command without running it
#   PYTHON      the interpreter; by default the clone's .venv, else python3 or python on the PATH
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"
export PYTHONPATH=$LAUNCH_ROOT${PYTHONPATH:+:$PYTHONPATH} PYTHONSAFEPATH=1 # the program is in a package
launch 1 tools/dali_index.py "$@"
