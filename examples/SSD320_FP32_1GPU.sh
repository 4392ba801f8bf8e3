#!/usr/bin/env bash
# Trains SSD320 on 1 GPU in single precision: bash examples/SSD320_FP32_1GPU.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/ssd320.sh"
ssd320_train FP32 1 "$@"
