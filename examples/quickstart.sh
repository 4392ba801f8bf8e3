#!/usr/bin/env bash
# Trains a classifier and a detector on real images, evaluates them, and runs them on unseen images.
#
#   bash examples/quickstart.sh [classification|detection] [output folder]
#
# Without the first argument it does both; the default folder is examples/quickstart_output. The images are the 1,797
# handwritten digits that come with scikit-learn: SE-ResNeXt101-32x4d classifies single digits, SSD320 finds them in
# scenes. Everything runs on the CPU; a second run reuses the results of the first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

parts="classification detection"
case "${1:-}" in
    classification | detection) parts=$1 && shift ;;
esac
usage="usage: bash examples/quickstart.sh [classification|detection] [output folder]"
if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' examples/quickstart.sh
    exit
fi
if [ $# -gt 1 ] || [[ ${1:-} == -* ]]; then
    echo "$usage" >&2
    exit 2
fi
out=${1:-examples/quickstart_output}

if [ -n "${DRY_RUN:-}" ]; then
    echo "DRY_RUN=$DRY_RUN: quickstart.sh installs and trains, and has no dry run" >&2
    exit 2
fi
export CUDA_VISIBLE_DEVICES=-1 # main.py refuses a TensorFlow that cannot use the GPUs of the machine
source utils/shell/setup_venv.sh
setup_venv requirements/examples.txt
python=.venv/bin/python

run() {
    echo "+ $*"
    "$@"
}

# make_images <script> <folder>: the folder appears only when it is complete.
make_images() {
    if [ ! -d "$2" ]; then
        mkdir -p "$out"
        run $python "$1" "$2.part"
        mv "$2.part" "$2"
    fi
}

newest_checkpoint() {
    ls "$1"/model.ckpt-*.index | sort -V | tail -n 1 | sed 's/\.index$//'
}

classification() {
    make_images examples/make_digits.py "$out/digits"
    run $python -m tools.convert "$out/digits" "$out/records"
    run $python main.py @examples/quickstart.args --data_dir="$out/records" --results_dir="$out/run"
    run $python main.py --mode=predict --model_dir="$out/run" --to_predict="$out/digits/unseen" --top_k=2 \
        --results_dir="$out/predictions"

    echo
    echo "checkpoint:  $(newest_checkpoint "$out/run")"
    echo "log:         $out/run/log.json"
    echo "predictions: $out/predictions/predictions.json and .csv"
    $python - "$out/run/log.json" << 'END'
import json, sys

summary = json.loads(open(sys.argv[1], encoding="utf-8").readlines()[-1].removeprefix("DLLL "))["data"]
print(f"validation:  top-1 {summary['top1_accuracy']:.4f} of {summary['images']} images")
END
}

detection() {
    local scenes=$out/scenes
    make_images examples/make_scenes.py "$scenes"
    run $python -m object_detection.create_coco_tfrecord --train_image_dir="$scenes/train" \
        --val_image_dir="$scenes/val" --train_annotations_file="$scenes/annotations/train.json" \
        --val_annotations_file="$scenes/annotations/val.json" --output_dir="$out/scene_records"
    run $python main.py @examples/quickstart_detection.args --data_dir="$out/scene_records" \
        --results_dir="$out/detection_run"
    run $python main.py --mode=predict --model_dir="$out/detection_run" --to_predict="$scenes/unseen" \
        --results_dir="$out/detections"

    echo
    echo "checkpoint:  $(newest_checkpoint "$out/detection_run")"
    echo "log:         $out/detection_run/log.json"
    echo "detections:  $out/detections/predictions.json and .csv"
    echo "picture:     $(find "$out/detections/pictures" -type f | sort | sed -n 1p)"
    $python - "$out/detection_run/log.json" << 'END'
import json, sys

summary = json.loads(open(sys.argv[1], encoding="utf-8").readlines()[-1].removeprefix("DLLL "))["data"]
precision, at_half = summary["Precision/mAP"], summary["Precision/mAP@.50IOU"]
print(f"validation:  AP {precision:.4f}, at IoU 0.50 {at_half:.4f}, of {summary['images']} images")
END
}

for part in $parts; do
    "$part"
done
