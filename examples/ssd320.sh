# Functions shared by the SSD320 scripts, which source this file: arguments, and settings not in a script's name.
source "$(dirname "${BASH_SOURCE[0]}")/../utils/launch.sh"
source "$LAUNCH_ROOT/utils/shell/arguments.sh"

SSD320_CONFIGS=$LAUNCH_ROOT/object_detection/configs

# Keeps float32 operations off a Volta GPU's tensor cores. NVIDIA's builds of TensorFlow read these variables.
ssd320_environment() {
    export TF_ENABLE_CUBLAS_TENSOR_OP_MATH_FP32=0
    export TF_ENABLE_CUDNN_TENSOR_OP_MATH_FP32=0
    export TF_ENABLE_CUDNN_RNN_TENSOR_OP_MATH_FP32=0
}

# ssd320_precision <FP16|FP32>: sets precision_flags and precision_word.
ssd320_precision() {
    case $1 in
        FP16) precision_flags=(--amp) precision_word=mixed ;;
        FP32) precision_flags=(--no_tf32) precision_word=single ;; # GPUs since Ampere would compute in TensorFloat-32
    esac
}

# ssd320_train_usage <name of the first folder> <what it is for>
ssd320_train_usage() {
    sed -n '2s/^# \(.*\): bash .*/\1./p' "$0"
    cat << END

  bash examples/$(basename "$0") [$1] [CONFIGS] [flags for object_detection/model_main.py...]

  $(printf %-11s "$1")  $2
  CONFIGS      folder with the pipeline configs; default $SSD320_CONFIGS

The environment variable PYTHON names the interpreter; DRY_RUN=1 prints the command instead of running it.
For the flags: python object_detection/model_main.py --help
END
}

# ssd320_train <FP16|FP32> <GPUs> [the script's arguments]
ssd320_train() {
    local precision=$1 gpus=$2 name="SSD320_$1_$2GPU" checkpoints configs
    local -a folders flags precision_flags command
    local precision_word
    shift 2
    ssd320_environment
    ssd320_precision "$precision"
    if wants_help "$@"; then
        ssd320_train_usage CHECKPOINTS "folder for checkpoints and logs; default /results/$name"
        return
    fi
    split_folders 2 "$@"
    checkpoints=${folders[0]:-/results/$name}
    configs=${folders[1]:-$SSD320_CONFIGS}
    command=("$gpus" object_detection/model_main.py "--pipeline_config_path=$configs/ssd320_full_${gpus}gpus.config"
        "--model_dir=$checkpoints" "${precision_flags[@]}" "${flags[@]}")
    if [ "$gpus" -eq 8 ]; then
        launch_logged "$checkpoints/train_log" "${command[@]}"
    else
        launch "${command[@]}"
    fi
}

# ssd320_benchmark <FP16|FP32> <GPUs> [the script's arguments]
ssd320_benchmark() {
    local precision=$1 gpus=$2 name="SSD320_$1_$2GPU_BENCHMARK" results configs log run status=0 speed
    local -a folders flags precision_flags
    local precision_word
    shift 2
    ssd320_environment
    ssd320_precision "$precision"
    if wants_help "$@"; then
        ssd320_train_usage RESULTS \
            "folder for summary.json and train_log, with the speed in its first line; default /results/$name"
        return
    fi
    split_folders 2 "$@"
    results=${folders[0]:-/results/$name}
    configs=${folders[1]:-$SSD320_CONFIGS}
    log=$results/train_log
    run=$results/benchmark_run # a separate folder, since a run that finds its last checkpoint trains nothing
    if [ "${DRY_RUN:-0}" != 1 ]; then
        rm -rf "$run" "$log.part"
    fi
    launch_logged "$log.part" "$gpus" object_detection/model_main.py \
        "--pipeline_config_path=$configs/ssd320_bench.config" "--model_dir=$run" --num_train_steps=1200 \
        --skip_evaluation "--report_file=$run/summary.json" "${precision_flags[@]}" "${flags[@]}" || status=$?
    if [ "${DRY_RUN:-0}" = 1 ]; then
        return "$status"
    fi
    if [ "$status" -eq 0 ]; then
        speed=$("$(launch_python)" "$LAUNCH_ROOT/examples/benchmark_speed.py" "$run/summary.json" --gpus="$gpus" \
            --precision="$precision_word") || status=$?
    fi
    if [ ! -e "$log.part" ]; then # the folder is not writable; the reason was printed
        return "$status"
    fi
    if [ "$status" -ne 0 ]; then
        mv "$log.part" "$log"
        echo "$(basename "$0"): no speed was measured (status $status); the log is $log" >&2
        return "$status"
    fi
    { echo "$speed" && cat "$log.part"; } > "$log"
    mv "$run/summary.json" "$results/summary.json"
    rm -rf "$run" "$log.part"
    echo "$speed"
}

# ssd320_evaluate [the script's arguments]
ssd320_evaluate() {
    local checkpoint out
    local -a folders flags
    if wants_help "$@"; then
        ssd320_evaluate_usage
        return
    fi
    ssd320_environment
    split_folders 2 "$@"
    checkpoint=${folders[0]:-}
    if [ -z "$checkpoint" ]; then
        ssd320_evaluate_usage >&2
        return 2
    fi
    if [ -d "$checkpoint" ]; then
        out=${checkpoint%/}/eval
    else
        out=$(dirname "$checkpoint")/eval
    fi
    out=${folders[1]:-$out}
    launch 1 object_detection/model_main.py "--pipeline_config_path=$SSD320_CONFIGS/ssd320_full_1gpus.config" \
        "--checkpoint_dir=$checkpoint" "--model_dir=$out" "--report_file=$out/summary.json" --run_once "${flags[@]}"
}

ssd320_evaluate_usage() {
    cat << END
Evaluates a checkpoint of SSD320 on the validation images and prints COCO's twelve metrics.

  bash examples/$(basename "$0") CHECKPOINT [OUT] [flags for object_detection/model_main.py...]

  CHECKPOINT  folder of checkpoints (the newest is used), or one checkpoint: FOLDER/model.ckpt-12500
  OUT         folder for the results; default: eval, beside the checkpoints

The environment variable PYTHON names the interpreter; DRY_RUN=1 prints the command instead of running it.
For the flags, such as --amp: python object_detection/model_main.py --help
END
}

# ssd320_inference <FP16|FP32> [the script's arguments]
ssd320_inference() {
    local precision=$1
    local -a folders flags precision_flags=()
    shift
    case $precision in
        FP16) export TF_ENABLE_AUTO_MIXED_PRECISION=1 ;;
        FP32) precision_flags=(--no_tf32) ;;
    esac
    if wants_help "$@"; then
        cat << END
Measures how fast SSD320 detects objects on one GPU in $precision.

  bash examples/$(basename "$0") [CONFIGS] --batch_size N --checkpoint_dir DIR [more flags...]

  CONFIGS  folder with the pipeline configs; default $SSD320_CONFIGS

The environment variable PYTHON names the interpreter; DRY_RUN=1 prints the command instead of running it. The flags:

END
        launch 1 examples/SSD320_inference.py --help
    fi
    split_folders 1 "$@"
    launch 1 examples/SSD320_inference.py \
        "--pipeline_config_path=${folders[0]:-$SSD320_CONFIGS}/ssd320_full_1gpus.config" "${precision_flags[@]}" \
        "${flags[@]}"
}
