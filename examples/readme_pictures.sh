#!/usr/bin/env bash
# Makes the pictures at the head of the README: trains a classifier on photographs of clothes and a detector on
# micrographs of blood cells, runs both on images that they have not seen, and draws the results.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../utils/launch.sh"
source "$LAUNCH_ROOT/utils/shell/arguments.sh"

if wants_help "$@"; then
    cat << END
Trains a classifier and a detector on the sample data, about an hour on 2 cores, and draws what they say of images that
they have not seen: photographs.jpg, micrographs.jpg and report.png. Run a second time, it uses what is there.

  bash examples/readme_pictures.sh [OUT] [DOCS]

  OUT          folder for records, runs and predictions; default examples/pictures_output of the clone
  DOCS         folder for the pictures; default docs of the clone

From the environment:
  SAMPLE_DATA  folder with clothing/ and bccd/; default ../shared/data beside the clone
  BROWSER      Chromium or Chrome, which renders the page of the report; default the first that is on the PATH.
               BROWSER=none leaves report.png out
  PYTHON       the interpreter; default the clone's .venv, else python3 on the PATH
  DRY_RUN=1    prints the commands and runs none
END
    exit
fi
split_folders 2 "$@"
if [ $# -gt "${#folders[@]}" ]; then
    echo "${*:${#folders[@]}+1}: not expected; usage: bash examples/readme_pictures.sh [OUT] [DOCS]" >&2
    exit 2
fi
out=$(realpath -m "${folders[0]:-$LAUNCH_ROOT/examples/pictures_output}")
docs=$(realpath -m "${folders[1]:-$LAUNCH_ROOT/docs}")
data=$(realpath -m "${SAMPLE_DATA:-$LAUNCH_ROOT/../shared/data}")
python=$(launch_python)

find_browser() {
    local candidate
    for candidate in ${BROWSER:+"$BROWSER"} chromium chromium-browser google-chrome chrome; do
        if [ "$candidate" = none ] || command -v "$candidate"; then
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
    if [ "${DRY_RUN:-0}" != 1 ]; then
        "$@"
    fi
}

browser=$(find_browser)
cd "$LAUNCH_ROOT"
for folder in "$data/clothing" "$data/bccd"; do
    if [ ! -d "$folder" ]; then
        echo "$folder: no such folder; SAMPLE_DATA names the one with clothing/ and bccd/" >&2
        exit 2
    fi
done

cells=$data/bccd
run "$python" -m object_detection.create_coco_tfrecord --train_image_dir="$cells/images/train" \
    --train_annotations_file="$cells/annotations/instances_train.json" --val_image_dir="$cells/images/val" \
    --val_annotations_file="$cells/annotations/instances_val.json" --output_dir="$out/cell_records"
run "$python" main.py @examples/cells.args --data_dir="$out/cell_records" --results_dir="$out/cell_run"
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
    run "$browser" --headless "${no_sandbox[@]}" --hide-scrollbars --force-device-scale-factor=1.5 --window-size=1180,900 \
        --screenshot="$out/report.png" "file://$out/cell_run/report.html"
fi
run "$python" examples/make_pictures.py "$out" "$data" "$docs"
