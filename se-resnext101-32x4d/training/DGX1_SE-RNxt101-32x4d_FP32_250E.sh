#!/usr/bin/env bash
# Trains SE-ResNeXt101-32x4d on a DGX-1, 8 GPUs, in single precision, 250 epochs: bash se-resnext101-32x4d/training/DGX1_SE-RNxt101-32x4d_FP32_250E.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../imagenet.sh"
train_imagenet 8 se-resnext101-32x4d_FP32_250E -- "$@"
