#!/usr/bin/env bash
# Trains ResNet-50 v1.5 on 1 GPU with weights and activations of 8 bits, 10 epochs: bash se-resnext101-32x4d/training/GPU1_RN50_QAT.sh --help
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../imagenet.sh"

recipe=$LAUNCH_ROOT/recipes/resnet50_QAT_10E.args
usage=$(
    cat << END
  bash se-resnext101-32x4d/training/GPU1_RN50_QAT.sh CHECKPOINT [DATA] [RESULT] [flags for main.py...]

  CHECKPOINT  the trained network to begin with: a folder, or a checkpoint's prefix
  DATA        the folder of the records; default /data/tfrecords
  RESULT      the folder for checkpoints and log; default /results/GPU1_RN50_QAT

It runs 1 process on each machine, with the flags of
$recipe

Flags at the end win. DRY_RUN=1 prints the command. The head of utils/launch.sh describes PYTHON; python main.py
--help all lists the flags.
END
)
if wants_help "$@"; then
    sed -n '2s/^# \(.*\): bash .*/\1.\n/p' "$0"
    echo "$usage"
    exit
fi
split_folders 3 "$@"
if [ "${#folders[@]}" -eq 0 ]; then
    echo "CHECKPOINT is missing, the trained network to begin with: bash $0 CHECKPOINT [DATA] [RESULT]" >&2
    exit 2
fi
launch 1 main.py "@$recipe" "--finetune_checkpoint=${folders[0]}" "--data_dir=${folders[1]:-/data/tfrecords}" \
    "--results_dir=${folders[2]:-/results/GPU1_RN50_QAT}" "${flags[@]}"
