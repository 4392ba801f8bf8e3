#!/usr/bin/env bash
# Downloads COCO 2017, checks it and converts it to TFRecords.
#
#   bash download_dataset.sh [options] [DATA_DIR] [-- ARGUMENTS]
#
#   DATA_DIR             folder for the records; downloads go to its raw-data (default: /data/coco2017_tfrecords)
#   --without_testdev    skip test-dev, which only the COCO server can evaluate (saves 6 GB)
#   --remove_zips        remove each zip file after unpacking (default: --keep_zips)
#   --download_only      do not convert
#   -- ARGUMENTS         for `python -m object_detection.create_coco_tfrecord`, such as --include_masks or --workers 8
#
# About 26 GB to download, as much again unpacked, and as much again as records. After an interruption, run it again to
# continue. Needs curl or wget, and unzip. Environment: PYTHON names the interpreter, COCO_URL another server with the
# same files, COCO_COUNTS the number of images in its train, val and test sets. Exit status: that of the conversion;
# 1 failed, 2 wrong usage.
set -euo pipefail

start=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
source utils/shell/download.sh

# The bucket's own address, because the certificate of https://images.cocodataset.org does not match that name.
COCO_URL=${COCO_URL:-https://s3.amazonaws.com/images.cocodataset.org}
read -r train_count val_count test_count <<< "${COCO_COUNTS:-118287 5000 40670}"

data_dir='' testdev=1 remove_zips='' convert=1
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]##*/}"; exit 0 ;;
        --without_testdev) testdev='' ;;
        --remove_zips) remove_zips=1 ;;
        --keep_zips) remove_zips='' ;;
        --download_only) convert='' ;;
        --) shift; break ;;
        -*) fail "$1: no such option; see --help" 2 ;;
        *) [ -z "$data_dir" ] || fail "$1: one data folder only, and $data_dir was given" 2; data_dir=$1 ;;
    esac
    shift
done
launch_has_no_dry_run
data_dir=${data_dir:-/data/coco2017_tfrecords}
[[ $data_dir = /* ]] || data_dir=$start/$data_dir
data_dir=$(absolute_folder "$data_dir") || fail "the data folder cannot be made"
raw=$data_dir/raw-data

python=$(launch_python)
if [ -n "$convert" ] && ! "$python" -c 'import numpy, PIL, rich' 2> /dev/null; then # before the download, not after it
    fail "$python lacks the packages of requirements.txt, which the conversion needs; --download_only needs none"
fi

# Downloads and unpacks a folder of images, unless it is complete.
images() {
    local name=$1 count=$2 zip=$raw/$1.zip unpacking=$raw/.unpacking
    if [ -d "$raw/$name" ] && [ "$(find "$raw/$name" -name '*.jpg' | wc -l)" -ge "$count" ]; then
        return
    fi
    command -v unzip > /dev/null || fail "unzip is needed"
    fetch "$COCO_URL/zips/$name.zip" "$zip" is_zip_of "$count" "^$name/[^/]+\.jpg$"
    echo "unpacking $name.zip" >&2
    rm -rf "$unpacking" "${raw:?}/$name" # left by an interrupted run
    mkdir -p "$unpacking"
    unzip -qo "$zip" -d "$unpacking" || fail_to_unpack "$zip"
    mv "$unpacking/$name" "$raw/$name"
    rm -rf "$unpacking"
    remove_zip "$zip"
}

# Downloads and unpacks annotation files, unless all exist.
annotations() {
    local name=$1 zip=$raw/$1.zip unpacking=$raw/.unpacking file missing=''
    shift
    for file in "$@"; do
        [ -e "$raw/annotations/$file" ] || missing=1
    done
    if [ -z "$missing" ]; then
        return
    fi
    command -v unzip > /dev/null || fail "unzip is needed"
    fetch "$COCO_URL/annotations/$name.zip" "$zip" is_zip_of $# "^annotations/($(IFS='|'; echo "$*"))$"
    rm -rf "$unpacking"
    mkdir -p "$unpacking" "$raw/annotations"
    unzip -qo "$zip" "${@/#/annotations/}" -d "$unpacking" || fail_to_unpack "$zip"
    mv "${@/#/$unpacking/annotations/}" "$raw/annotations/"
    rm -rf "$unpacking"
    remove_zip "$zip"
}

fail_to_unpack() {
    fail "$1: cannot be unpacked; perhaps there is no space left"
}

remove_zip() {
    if [ -n "$remove_zips" ]; then
        rm -f "$1"
    fi
}

annotations annotations_trainval2017 instances_train2017.json instances_val2017.json
images val2017 "$val_count"
images train2017 "$train_count"
flags=(
    --train_image_dir "$raw/train2017" --train_annotations_file "$raw/annotations/instances_train2017.json"
    --val_image_dir "$raw/val2017" --val_annotations_file "$raw/annotations/instances_val2017.json"
)
if [ -n "$testdev" ]; then
    annotations image_info_test2017 image_info_test-dev2017.json
    images test2017 "$test_count"
    flags+=(--test_image_dir "$raw/test2017" --testdev_annotations_file "$raw/annotations/image_info_test-dev2017.json")
fi
if [ -n "$convert" ]; then
    exec "$python" -m object_detection.create_coco_tfrecord --output_dir "$data_dir" "${flags[@]}" "$@"
fi
