#!/usr/bin/env bash
# Evaluates a checkpoint of SSD320: bash examples/SSD320_evaluate.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/ssd320.sh"
ssd320_evaluate "$@"
