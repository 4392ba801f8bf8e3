#!/usr/bin/env bash
# Measures how fast SE-ResNeXt101-32x4d trains on one GPU and on all GPUs of the machine, in all precisions.
#
#   bash se-resnext101-32x4d/training/training_perf.sh [FP32_BATCH] [AMP_BATCH] [flags for main.py...]
#
#   FP32_BATCH   images per GPU in single precision; default 64
#   AMP_BATCH    images per GPU in mixed precision; default 96
#
# It runs FP32, FP32 + XLA, AMP and AMP + XLA on one GPU and, if there are more, on all of them. With --arch it
# measures another network. The tables are training_benchmark.md and .json in RESULTS_DIR. Environment:
#
#   DATA          folder of TFRecords; default /data/tfrecords if it exists, else synthetic images
#   GPUS          number of the machine's GPUs; default as nvidia-smi counts them, else 1
#   ITERATIONS    steps per run; default 500. The first two fifths of them, at most 200, are left out (WARMUP)
#   SINGLE        TF32: measure TensorFloat-32 in place of FP32
#   RESULTS_DIR   folder for the tables; default the current folder
#   DRY_RUN=1     prints the commands; PYTHON, LAUNCHER and BIND: see utils/launch.sh
#
# Exit status: 0 done; 1 a run failed or did not fit, as the table says; 2 wrong usage; 75 stopped by a signal.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../utils/shell/benchmark.sh"
source "$LAUNCH_ROOT/utils/shell/arguments.sh"

if wants_help "$@"; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
    exit
fi
split_folders 2 "$@"
FP32_BATCH=${folders[0]:-64} AMP_BATCH=${folders[1]:-96} ITERATIONS=${ITERATIONS:-500}
GPUS=${GPUS:-$(nvidia-smi -L 2> /dev/null | grep -c '^GPU ' || true)}
if [ "$GPUS" = 0 ]; then
    GPUS=1
fi
for name in FP32_BATCH AMP_BATCH ITERATIONS GPUS; do
    benchmark_check "$name"
done
WARMUP=${WARMUP:-$((ITERATIONS * 2 / 5 < 200 ? ITERATIONS * 2 / 5 : 200))}
benchmark_check WARMUP 0
benchmark_single
if [ -n "${DATA:-}" ] && ! [ -d "$DATA" ] && [ "${DRY_RUN:-0}" != 1 ]; then
    echo "$(basename "$0"): DATA=$DATA: there is no such folder" >&2
    exit 2
fi
if [ -z "${DATA:-}" ] && [ -d /data/tfrecords ]; then
    DATA=/data/tfrecords
fi
common=(--arch=se-resnext101-32x4d --head_init=original --iter_unit=batch "--num_iter=$ITERATIONS"
    "--warmup_steps=$WARMUP")
if [ -n "${DATA:-}" ]; then
    common+=("--data_dir=$DATA")
fi

too_large=0
# measure <configuration> <GPUs> <batch size> <flags...>
measure() {
    local status=0
    benchmark_run "$1" "$2" "$3" "${common[@]}" "${@:4}" "${flags[@]}" || status=$?
    if [ "$status" = 3 ]; then
        too_large=1
    fi
}

measure_all() {
    measure "$single" "$1" "$FP32_BATCH" "${single_flags[@]}"
    measure "$single + XLA" "$1" "$FP32_BATCH" "${single_flags[@]}" --xla
    measure AMP "$1" "$AMP_BATCH" --amp --static_loss_scale=128
    measure "AMP + XLA" "$1" "$AMP_BATCH" --amp --static_loss_scale=128 --xla
}

benchmark_begin training_benchmark "Training, ${DATA:-synthetic images}: $ITERATIONS steps, $WARMUP of them left out" \
    training_benchmark
measure_all 1
if [ "$GPUS" != 1 ]; then
    measure_all "$GPUS"
fi
benchmark_end
if [ "$too_large" = 1 ]; then
    echo "$(basename "$0"): a batch did not fit; give smaller ones: $(basename "$0") FP32_BATCH AMP_BATCH" >&2
    exit 1
fi
