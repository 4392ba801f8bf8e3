#!/usr/bin/env bash
# Trains SE-ResNeXt101-32x4d on a DGX A100, 8 GPUs, in TensorFloat-32, 90 epochs: bash se-resnext101-32x4d/training/DGXA100_SE-RNxt101-32x4d_TF32_90E.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../imagenet.sh"
export BIND=${BIND:-dgx_a100}
train_imagenet 8 se-resnext101-32x4d_TF32_90E -- "$@"
