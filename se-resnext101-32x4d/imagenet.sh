# Common parts of the training scripts: arguments and the layout of folders. Sourced by them.
source "$(dirname "${BASH_SOURCE[0]}")/../utils/launch.sh"
source "$LAUNCH_ROOT/utils/shell/arguments.sh"

imagenet_usage() {
    sed -n '2s/^# \(.*\): bash .*/\1./p' "$0"
    cat << END

  bash se-resnext101-32x4d/training/$(basename "$0") [RESULT] [DATA] [flags for main.py...]

  RESULT  checkpoints and logs go to RESULT/results; default /results/$(basename "$0" .sh)
  DATA    records are read from DATA/tfrecords and, with --dali, their index from DATA/dali_idx if it exists;
          default /data

It runs $1 processes on each machine, with the flags of
$2${3:+
and }${3:-}

Flags at the end win. DRY_RUN=1 prints the command. The head of utils/launch.sh describes PYTHON, HOSTS, LAUNCHER,
LAUNCHER_ARGS and BIND; python main.py --help all lists the flags.
END
}

# train_imagenet <processes> <recipe> [flags of this machine...] -- [the script's arguments]
train_imagenet() {
    local processes=$1 recipe=$LAUNCH_ROOT/se-resnext101-32x4d/recipes/$2.args result data
    local -a machine=() folders flags index=()
    shift 2
    while [ "$1" != -- ]; do
        machine+=("$1")
        shift
    done
    shift
    if wants_help "$@"; then
        imagenet_usage "$processes" "$recipe" "${machine[*]}"
        return
    fi
    split_folders 2 "$@"
    result=${folders[0]:-/results/$(basename "$0" .sh)}
    data=${folders[1]:-/data}
    data=${data%/}
    if [[ " ${flags[*]} " == *" --dali "* ]] && [ -d "$data/dali_idx" ]; then
        index=("--data_idx_dir=$data/dali_idx")
    fi
    launch "$processes" main.py "@$recipe" "${machine[@]}" "--data_dir=$data/tfrecords" \
        "--results_dir=${result%/}/results" "${index[@]}" "${flags[@]}"
}
