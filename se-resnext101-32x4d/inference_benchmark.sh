#!/usr/bin/env bash
# Measures how fast SE-ResNeXt101-32x4d infers on one GPU, in all precisions and batch sizes.
#
#   bash se-resnext101-32x4d/inference_benchmark.sh [DATA] [INDEX] [flags for main.py...]
#
#   DATA    folder of TFRecords; default /data/tfrecords if it exists, else synthetic images
#   INDEX   folder of DALI's index files; with it DALI + AMP + XLA is measured too
#
# It runs FP32, FP32 + XLA, AMP and AMP + XLA, each with batches of 1, 2, 4 ... 256 until one does not fit. With --arch
# it measures another network, with --model_dir a checkpoint; without one the weights are random. The tables are
# inference_benchmark.md and .json in RESULTS_DIR. Environment:
#
#   BATCH_SIZES   the batches, "1 8 64"
#   ITERATIONS    batches per run; default 400. The first eighth of them, at most 50, is left out (WARMUP)
#   SINGLE        TF32: measure TensorFloat-32 in place of FP32
#   RESULTS_DIR   folder for the tables; default the current folder
#   DRY_RUN=1     prints the commands; PYTHON and LAUNCHER: see utils/launch.sh
#
# Exit status: 0 done; 1 a run failed, as the table says, or nothing fitted; 2 wrong usage; 75 stopped by a signal.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../utils/shell/benchmark.sh"
source "$LAUNCH_ROOT/utils/shell/arguments.sh"

if wants_help "$@"; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit
fi
split_folders 2 "$@"
data=${folders[0]:-} index=${folders[1]:-}
BATCH_SIZES=${BATCH_SIZES:-1 2 4 8 16 32 64 128 256} ITERATIONS=${ITERATIONS:-400}
benchmark_check_list BATCH_SIZES
benchmark_check ITERATIONS
WARMUP=${WARMUP:-$((ITERATIONS / 8 < 50 ? ITERATIONS / 8 : 50))}
benchmark_check WARMUP 0
benchmark_single
for folder in "${folders[@]}"; do
    if ! [ -d "$folder" ] && [ "${DRY_RUN:-0}" != 1 ]; then
        echo "$(basename "$0"): $folder: there is no such folder" >&2
        exit 2
    fi
done
if [ -z "$data" ] && [ -d /data/tfrecords ]; then
    data=/data/tfrecords
fi
common=(--arch=se-resnext101-32x4d --iter_unit=batch "--num_iter=$ITERATIONS" "--warmup_steps=$WARMUP")
if [ -n "$data" ]; then
    common+=("--data_dir=$data")
fi

# measure <configuration> <flags...>: one row of batch sizes, up to the first that does not fit.
measure() {
    local configuration=$1 batch_size status measured=0
    shift
    for batch_size in $BATCH_SIZES; do
        status=0
        benchmark_run "$configuration" 1 "$batch_size" "${common[@]}" "$@" "${flags[@]}" || status=$?
        if [ "$status" = 3 ]; then
            break
        fi
        measured=$((measured + (status == 0)))
    done
    if [ "$measured" = 0 ]; then
        nothing=1
    fi
}

nothing=0
benchmark_begin inference_benchmark "Inference, ${data:-synthetic images}: $ITERATIONS batches, $WARMUP of them left out" \
    inference_benchmark
measure "$single" "${single_flags[@]}"
measure "$single + XLA" "${single_flags[@]}" --xla
measure AMP --amp
measure "AMP + XLA" --amp --xla
if [ -n "$index" ]; then
    measure "DALI + AMP + XLA" --amp --xla --dali "--data_idx_dir=$index"
fi
benchmark_end
if [ "$nothing" = 1 ]; then
    echo "$(basename "$0"): no batch size could be measured in one configuration or more" >&2
    exit 1
fi
