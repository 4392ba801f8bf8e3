#!/usr/bin/env bash
# Downloads COCO 2017, converted to TFRecords, and ResNet-50's weights for training SSD320:
#
#   bash download_all.sh [options] IMAGE [DATA_DIR] [CHECKPOINT_DIR] [-- ARGUMENTS]
#
#   IMAGE            Docker image of this project to convert the data with; without a running Docker, this clone does it
#   DATA_DIR         folder for the records and the downloads (default: /data/coco2017_tfrecords)
#   CHECKPOINT_DIR   folder for resnet_v1_50/model.ckpt (default: /checkpoints)
#   options          --without_testdev and --remove_zips, as for download_dataset.sh; so is -- ARGUMENTS
#
# After an interruption, run it again to continue. Environment: PYTHON, COCO_URL and COCO_COUNTS as for
# download_dataset.sh; RESNET_URL, another URL of resnet_v1_50_2016_08_28.tar.gz. Exit status: that of the conversion;
# 1 failed, 2 wrong usage.
set -euo pipefail

start=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
source utils/shell/download.sh

RESNET_URL=${RESNET_URL:-https://download.tensorflow.org/models/resnet_v1_50_2016_08_28.tar.gz}

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]##*/}"
}

options=() places=()
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --without_testdev | --remove_zips | --keep_zips) options+=("$1") ;;
        --) shift; break ;;
        -*) fail "$1: no such option; see --help" 2 ;;
        *) places+=("$1") ;;
    esac
    shift
done
if [ ${#places[@]} -lt 1 ] || [ ${#places[@]} -gt 3 ]; then
    usage >&2
    exit 2
fi
launch_has_no_dry_run
image=${places[0]} data_dir=${places[1]:-/data/coco2017_tfrecords} checkpoint_dir=${places[2]:-/checkpoints}
[[ $data_dir = /* ]] || data_dir=$start/$data_dir
[[ $checkpoint_dir = /* ]] || checkpoint_dir=$start/$checkpoint_dir
data_dir=$(absolute_folder "$data_dir") || fail "the data folder cannot be made"
checkpoint_dir=$(absolute_folder "$checkpoint_dir") || fail "the checkpoint folder cannot be made"

weights=$checkpoint_dir/resnet_v1_50/model.ckpt
if [ ! -e "$weights" ]; then
    archive=$checkpoint_dir/resnet_v1_50_2016_08_28.tar.gz unpacking=$checkpoint_dir/.unpacking
    fetch "$RESNET_URL" "$archive" is_gzip
    rm -rf "$unpacking"
    mkdir -p "$unpacking" "$checkpoint_dir/resnet_v1_50"
    tar -xzf "$archive" -C "$unpacking" || fail "$archive: cannot be unpacked"
    found=$(find "$unpacking" -name resnet_v1_50.ckpt | head -n 1)
    [ -n "$found" ] || fail "$archive: has no resnet_v1_50.ckpt in it; remove it and run the same command again"
    mv "$found" "$weights"
    rm -rf "$unpacking"
fi

dataset=(bash download_dataset.sh "${options[@]}")
if command -v docker > /dev/null && docker info > /dev/null 2>&1; then
    "${dataset[@]}" --download_only "$data_dir"
    # The same path inside and outside, so that each can continue the other's work.
    exec docker run --rm --user "$(id -u):$(id -g)" --volume "$data_dir:$data_dir" "$image" \
        "${dataset[@]}" "$data_dir" -- "$@"
fi
echo "Docker is not running: converting with this clone instead of the image $image" >&2
exec "${dataset[@]}" "$data_dir" -- "$@"
