#!/usr/bin/env bash
# Measures how fast SSD320 detects objects in single precision: bash examples/SSD320_FP32_inference.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/ssd320.sh"
ssd320_inference FP32 "$@"
