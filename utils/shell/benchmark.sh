# Common parts of benchmark scripts: runs of main.py in turn, each a row of a table. Sourced by scripts.
#
#   source utils/shell/benchmark.sh
#   benchmark_begin <name> <title> <mode>    # inference_benchmark or training_benchmark
#   benchmark_run <configuration> <GPUs> <batch size> <flags for main.py...>
#   benchmark_end                            # shows the table; status 1 if a run failed
#
# The tables are RESULTS_DIR/<name>.md and .json; output and logs of the runs are in RESULTS_DIR/<name>_runs.
# RESULTS_DIR is the current folder by default. DRY_RUN=1 prints the commands and writes nothing.
source "$(dirname "${BASH_SOURCE[0]}")/../launch.sh"

benchmark_begin() {
    benchmark_title=$2 benchmark_mode=$3 benchmark_failures=0
    if [ -n "${HOSTS:-}" ]; then
        echo "HOSTS=$HOSTS: ${0##*/} measures this machine, whose GPUs its rows count; leave the variable out" >&2
        exit 2
    fi
    if [ "${DRY_RUN:-0}" = 1 ]; then
        benchmark_table=${RESULTS_DIR:-.}/$1
        return
    fi
    benchmark_python=$(launch_python) || exit
    RESULTS_DIR=$(mkdir -p "${RESULTS_DIR:-.}" && cd "${RESULTS_DIR:-.}" && pwd) || exit 2
    benchmark_table=$RESULTS_DIR/$1
    rm -rf "$benchmark_table.md" "$benchmark_table.json" "${benchmark_table}_runs"
    mkdir "${benchmark_table}_runs" || exit 2
}

# Status: 0 measured, 3 out of memory, 1 failed. Ends the script if the command is invalid or received a signal.
benchmark_run() {
    local configuration=$1 gpus=$2 batch_size=$3 status=0 verdict=0 run kind=train
    local -a command
    shift 3
    run=${benchmark_table}_runs/$(tr -cs 'A-Za-z0-9\n' _ <<< "$configuration $gpus $batch_size")
    command=("$gpus" main.py "--mode=$benchmark_mode" "--batch_size=$batch_size" "--results_dir=$run" "$@")
    if [ "${DRY_RUN:-0}" = 1 ]; then
        (launch "${command[@]}")
        return
    fi
    launch_logged "$run/console.txt" "${command[@]}" > /dev/null || status=$?
    if [ "$status" = 2 ] || [ "$status" = 75 ]; then # invalid for all other runs too; stopped by a signal
        tail -n 3 "$run/console.txt" >&2
        exit "$status"
    fi
    if [ "$benchmark_mode" = inference_benchmark ]; then
        kind="eval"
    fi
    PYTHONPATH=$LAUNCH_ROOT "$benchmark_python" -m tools.measure.benchmark_table "$benchmark_table" "$run" \
        --title="$benchmark_title" --kind="$kind" --configuration="$configuration" --gpus="$gpus" \
        --batch_size="$batch_size" --status="$status" || verdict=$?
    if [ "$verdict" != 0 ] && [ "$verdict" != 3 ]; then
        benchmark_failures=$((benchmark_failures + 1))
        verdict=1
    fi
    return "$verdict"
}

benchmark_end() {
    if [ "${DRY_RUN:-0}" = 1 ]; then
        return
    fi
    echo
    cat "$benchmark_table.md"
    echo
    echo "written to $benchmark_table.md and $benchmark_table.json"
    if [ "$benchmark_failures" != 0 ]; then
        echo "$(basename "$0"): $benchmark_failures of the runs failed; their output is in ${benchmark_table}_runs" >&2
        return 1
    fi
}

# Sets single to FP32 or TF32, as in SINGLE, and single_flags to the flags for it.
# shellcheck disable=SC2034 # single_flags is for the caller
benchmark_single() {
    single=${SINGLE:-FP32}
    case $single in
        FP32) single_flags=(--no_tf32) ;;
        TF32) single_flags=() ;;
        *) echo "SINGLE=$single: must be FP32 or TF32" >&2 && exit 2 ;;
    esac
}

# benchmark_check <name> [0]: ends the script unless the variable holds a positive integer, or 0 if allowed.
benchmark_check() {
    if ! [[ ${!1} =~ ^(0|[1-9][0-9]*)$ ]] || [ "${!1}" -lt "${2:-1}" ]; then
        echo "$1=${!1}: must be ${2:+0 or }a positive integer" >&2
        exit 2
    fi
}

# Ends the script unless the variable of this name holds positive integers, separated by spaces.
benchmark_check_list() {
    if ! [[ ${!1} =~ ^\ *[1-9][0-9]*(\ +[1-9][0-9]*)*\ *$ ]]; then
        echo "$1=${!1}: must be positive integers, separated by spaces" >&2
        exit 2
    fi
}
