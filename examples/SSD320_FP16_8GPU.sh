#!/usr/bin/env bash
# Trains SSD320 on 8 GPUs in mixed precision: bash examples/SSD320_FP16_8GPU.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/ssd320.sh"
ssd320_train FP16 8 "$@"
