#!/usr/bin/env bash
# Proves without a GPU what can be proved of one, in an environment of its own (.venv-gpu):
#
#   bash tests/gpu/run.sh [pytest arguments]
#   bash tests/gpu/run.sh -k images
#
# The environment has TensorFlow's CUDA build. 1.1 GB are downloaded for it, once. Horovod is compiled with NCCL, for that
# environment and for an image; each took 9 minutes on 2 busy processors. Only root can follow the Dockerfile, which takes
# debootstrap and 15 GB. Other test runs skip these tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source utils/shell/setup_venv.sh
VENV=.venv-gpu setup_venv requirements/gpu_tests.txt
export TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2}
exec .venv-gpu/bin/python -m pytest -p no:cacheprovider tests/gpu "$@"
