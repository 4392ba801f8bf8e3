#!/usr/bin/env bash
# Measures how fast SSD320 detects objects in mixed precision: bash examples/SSD320_FP16_inference.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/ssd320.sh"
ssd320_inference FP16 "$@"
