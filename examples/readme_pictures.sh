#!/usr/bin/env bash
# Makes the pictures at the head of the README. Trains a classifier on photographs of clothes and a detector on
# micrographs of blood cells, runs both on images that they were not trained on, and draws the results.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/utils/shell/arguments.sh"
source "$root/utils/shell/setup_venv.sh"

if wants_help "$@"; then
    cat << END
Trains a classifier and a detector on the sample data and draws what they predict for validation images:
photographs.jpg, micrographs.jpg and report.png. The parts took under two hours together on 2 cores that did other
work too. A second run continues with the results of the first.

  bash examples/readme_pictures.sh [OUT] [DOCS]

  OUT          folder for records, runs and predictions; default examples/pictures_output of the clone
  DOCS         folder for the pictures; default docs of the clone

From the environment:
  SAMPLE_DATA  folder with clothing/ and bccd/; default ../shared/data beside the clone
  BROWSER      Chromium or Chrome, which renders the report; default the first one on the PATH.
               BROWSER=none leaves report.png out
  DRY_RUN=1    prints the commands and runs none
END
    exit
fi
split_folders 2 "$@"
if [ $# -gt "${#folders[@]}" ]; then
    echo "${*:${#folders[@]}+1}: not expected; usage: bash examples/readme_pictures.sh [OUT] [DOCS]" >&2
    exit 2
fi
# Defaults are relative to the clone, given folders to the current one.
out=examples/pictures_output docs=docs data=../shared/data
if [ -n "${folders[0]:-}" ]; then out=$(realpath -m "${folders[0]}"); fi
if [ -n "${folders[1]:-}" ]; then docs=$(realpath -m "${folders[1]}"); fi
if [ -n "${SAMPLE_DATA:-}" ]; then data=$(realpath -m "$SAMPLE_DATA"); fi
python=.venv/bin/python
dry_run=${DRY_RUN:-0}
case $dry_run in
    0 | 1) unset DRY_RUN ;; # the quick start has no dry run
    *) echo "DRY_RUN=$DRY_RUN: must be 1, or not set" >&2 && exit 2 ;;
esac

find_browser() {
    local candidate path
    for candidate in ${BROWSER:+"$BROWSER"} chromium chromium-browser google-chrome chrome; do
        if [ "$candidate" = none ]; then
            return
        fi
        if path=$(command -v "$candidate"); then
            realpath -s "$path" # the current folder changes
            return
        fi
        if [ -n "${BROWSER:-}" ]; then
            echo "BROWSER=$BROWSER: there is no such program" >&2
            return 2
        fi
    done
    echo "No Chromium or Chrome on the PATH to render the report with; name one, BROWSER=/path/to/chromium, or leave" \
        "report.png out, BROWSER=none" >&2
    return 2
}

run() {
    printf '%q ' "$@"
    echo
    if [ "$dry_run" != 1 ]; then
        "$@"
    fi
}

browser=$(find_browser)
cd "$root"
for folder in "$data/clothing" "$data/bccd"; do
    if [ ! -d "$folder" ]; then
        echo "$folder: no such folder; SAMPLE_DATA names the one with clothing/ and bccd/" >&2
        exit 2
    fi
done

if [ "$dry_run" != 1 ]; then
    setup_venv requirements/examples.txt
fi
cells=$data/bccd
run "$python" -m object_detection.create_coco_tfrecord --train_image_dir="$cells/images/train" \
    --train_annotations_file="$cells/annotations/instances_train.json" --val_image_dir="$cells/images/val" \
    --val_annotations_file="$cells/annotations/instances_val.json" --output_dir="$out/cell_records"
run bash examples/quickstart.sh detection "$out/scenes"
run "$python" main.py @examples/cells.args --finetune_checkpoint="$out/scenes/detection_run/best" \
    --data_dir="$out/cell_records" --results_dir="$out/cell_run_small"
run "$python" main.py @examples/cells.args --image_size=256 --num_iter=2 --lr_init=0.24 \
    --finetune_checkpoint="$out/cell_run_small/best" --data_dir="$out/cell_records" --results_dir="$out/cell_run"
run "$python" main.py --mode=evaluate --model_dir="$out/cell_run/best" --data_dir="$out/cell_records" --batch_size=8 \
    --results_dir="$out/cell_evaluation"

run "$python" -m tools.convert "$data/clothing" "$out/clothing_records"
run "$python" main.py @examples/clothing.args --data_dir="$out/clothing_records" --results_dir="$out/clothing_run"
run "$python" main.py --mode=predict --model_dir="$out/clothing_run/best" --to_predict="$data/clothing/validation" \
    --results_dir="$out/clothing_predictions"

if [ -n "$browser" ]; then
    no_sandbox=()
    if [ "$(id -u)" = 0 ]; then
        no_sandbox=(--no-sandbox) # Chromium's own does not start as root
    fi
    run "$browser" --headless "${no_sandbox[@]}" --log-level=3 --hide-scrollbars --force-device-scale-factor=1.63 \
        --window-size=1080,1010 --screenshot="$out/report.png" "file://$(realpath -m "$out")/clothing_run/report.html"
fi
run "$python" examples/make_pictures.py "$out" "$data" "$docs"
