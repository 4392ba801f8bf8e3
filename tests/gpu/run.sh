#!/usr/bin/env bash
# Proves without a GPU what can be proved of one, in an environment of its own (.venv-gpu):
#
#   bash tests/gpu/run.sh [pytest arguments]
#   bash tests/gpu/run.sh -k images
#
# The environment has TensorFlow's CUDA build. 1.1 GB are downloaded for it, once. Compiling Horovod with NCCL takes 15
# minutes on 2 processors, following the Dockerfile as long again and 10 GB more, which root alone can do. Other test runs
# skip these tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source utils/shell/setup_venv.sh
VENV=.venv-gpu setup_venv requirements/gpu_tests.txt
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
exec .venv-gpu/bin/python -m pytest -p no:cacheprovider tests/gpu "$@"
