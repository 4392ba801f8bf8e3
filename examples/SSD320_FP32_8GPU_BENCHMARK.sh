#!/usr/bin/env bash
# Measures how fast SSD320 trains on 8 GPUs in single precision: bash examples/SSD320_FP32_8GPU_BENCHMARK.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/ssd320.sh"
ssd320_benchmark FP32 8 "$@"
