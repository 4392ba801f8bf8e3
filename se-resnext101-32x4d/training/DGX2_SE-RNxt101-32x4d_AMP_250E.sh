#!/usr/bin/env bash
# Trains SE-ResNeXt101-32x4d on a DGX-2, 16 GPUs, in mixed precision, 250 epochs: bash se-resnext101-32x4d/training/DGX2_SE-RNxt101-32x4d_AMP_250E.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../imagenet.sh"
train_imagenet 16 se-resnext101-32x4d_AMP_250E -- "$@"
