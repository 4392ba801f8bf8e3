#!/usr/bin/env bash
# Trains SE-ResNeXt101-32x4d on real images, evaluates it, and lets it name images that it has not seen.
#
#   bash examples/quickstart.sh [folder for all that it makes; default examples/quickstart_output]
#
# The images are the 1,797 handwritten digits that come with scikit-learn. Everything runs on the CPU; run a second time
# it uses what is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source utils/setup_venv.sh
setup_venv requirements-examples.txt

out=${1:-examples/quickstart_output}
python=.venv/bin/python

run() {
    echo "+ $*"
    "$@"
}

if [ ! -d "$out/digits" ]; then
    mkdir -p "$out"
    run $python examples/make_digits.py "$out/digits.part"
    mv "$out/digits.part" "$out/digits"
fi
run $python -m utils.convert_dataset "$out/digits" "$out/records"
run $python main.py @examples/quickstart.args --data_dir="$out/records" --results_dir="$out/run"
run $python main.py --mode=predict --model_dir="$out/run" --to_predict="$out/digits/unseen" --top_k=2 \
    --results_dir="$out/predictions"

echo
echo "checkpoint:  $(ls "$out"/run/model.ckpt-*.index | sort -V | tail -n 1 | sed 's/\.index$//')"
echo "log:         $out/run/log.json"
echo "predictions: $out/predictions/predictions.json and .csv"
$python - "$out/run/log.json" << 'END'
import json, sys

summary = json.loads(open(sys.argv[1], encoding="utf-8").readlines()[-1].removeprefix("DLLL "))["data"]
print(f"validation:  top-1 {summary['top1_accuracy']:.4f} of {summary['images']} images")
END
