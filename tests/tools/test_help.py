"""The help of every command, in one process: without TensorFlow, and with the name that users type."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tools.measure.__main__ import MEASUREMENTS
from utils.config import ARCHITECTURES

WITHOUT_NUMPY = {
    "tools.convert": "tools.convert.__main__",
    "tools.validate": "tools.validate.__main__",
    "tools.create_coco_tfrecord": "tools.convert.coco_command",
}
COMMANDS = WITHOUT_NUMPY | {
    **{name: f"{name}.__main__" for name in ("tools.doctor", "tools.find_lr", "tools.inspect", "tools.sweep")},
    **{f"tools.{name}": f"tools.{name}" for name in ("average_weights", "benchmark_input", "export", "import_weights")},
    **{f"tools.{name}": f"tools.{name}" for name in ("launch", "postprocess_weights", "report", "score")},
    "tools.dali_index": "tools.dali_index",
    "tools.measure": "tools.measure.__main__",
    **{f"tools.measure.{name}": f"tools.measure.{name}" for name in MEASUREMENTS if name != "compare"},
    "tools.measure compare": "tools.measure.compare.__main__",
}
SCRIPT = """
import contextlib, importlib, io, json, sys
found = {}
for command, module in json.loads(sys.argv[1]).items():
    text = io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["--help"])
    text.seek(0)
    found[command] = text.read(), [name for name in ("tensorflow", "numpy", "PIL") if name in sys.modules]
print(json.dumps(found))
"""
FLAGS = {
    "tools.convert": "SRC OUT --validation_fraction --validation_labels --class_names --head_size --bounding_boxes "
    "--groups --train_shards --validation_shards --seed --workers --skip_unreadable --overwrite Exit",
    "tools.create_coco_tfrecord": "--train_image_dir --val_image_dir --test_image_dir --train_annotations_file "
    "--val_annotations_file --testdev_annotations_file --box_format --boxes_are --output_dir --include_masks "
    "--train_shards --val_shards --testdev_shards --workers --skip_unreadable --overwrite --logtostderr Exit",
    "tools.validate": "SRC --fix --json --named --workers --dali --label_map --image_dir",
}


@pytest.fixture(scope="module")
def helps():
    command = [sys.executable, "-c", SCRIPT, json.dumps(COMMANDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_command_has_its_help_tested():
    modules = {f"tools.{path.stem}" for path in (ROOT / "tools").glob("*.py") if "__main__" in path.read_text("utf-8")}
    packages = {f"tools.{path.parent.name}" for path in (ROOT / "tools").glob("*/__main__.py")}
    assert (modules | packages) - COMMANDS.keys() == {"tools.__main__"}


def test_the_help_of_a_command_loads_no_tensorflow_and_where_it_can_no_numpy(helps):
    assert {name for name, (_, loaded) in helps.items() if "tensorflow" in loaded} == set()
    assert {name for name in WITHOUT_NUMPY if helps[name][1]} == set()


def test_a_command_calls_itself_by_the_name_that_people_type(helps):
    starts = {name: text.split("[")[0] for name, (text, _) in helps.items()}
    assert starts == {name: f"usage: python -m {name} " for name in COMMANDS}


def test_the_index_of_dali_calls_itself_by_its_script_when_that_starts_it():
    command = [sys.executable, "tools/dali_index.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("usage: bash utils/dali_index.sh ")


def test_the_help_is_plain_text_that_fits_80_columns(helps):
    lines = [(name, line) for name, (text, _) in helps.items() for line in text.splitlines()]
    assert [line for line in lines if "``" in line[1] or len(line[1]) > 80] == []
    names = {name for name in ARCHITECTURES if "-" in name}
    assert {name for name in names if not any(name in text for text, _ in helps.values())} == set()


def test_the_help_of_inspect_has_its_own_defaults(helps):
    text = " ".join(helps["tools.inspect"][0].split())
    assert text.count("--batch_size") == 2, "in the usage and in the list, with one default"
    assert "(default: 32, for detection 8, or all images if there are fewer)" in text


def test_the_help_lists_the_flags(helps):
    missing = {name: [flag for flag in flags.split() if flag not in helps[name][0]] for name, flags in FLAGS.items()}
    assert not any(missing.values()), missing
