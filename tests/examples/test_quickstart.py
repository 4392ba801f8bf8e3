"""The quick start's steps and folders, with a stand-in for the interpreter; the programs are tested elsewhere."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

FAKE_PYTHON = f"""#!{sys.executable}
# Stands in for the clone's interpreter: records its commands and leaves the files that they would.
import os, sys
from pathlib import Path

words = sys.argv[1:]
if words[0] == "-":
    os.execv(sys.executable, [sys.executable, *words])
with open("asked", "a") as file:
    file.write(__import__("shlex").join(words) + "\\n")
flags = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
if words[0].startswith("examples/make_"):
    Path(words[1]).mkdir()
if "--mode=predict" in words:
    out = Path(flags["results_dir"]) / "pictures"
    out.mkdir(parents=True, exist_ok=True)
    (out / "scene.jpg").touch()
elif words[0] == "main.py":
    out = Path(flags["results_dir"])
    out.mkdir(parents=True)
    for step in (9, 10):
        (out / f"model.ckpt-{{step}}.index").touch()
    (out / "log.json").write_text(
        'DLLL {{"step": [], "data": {{"top1_accuracy": 0.95, "images": 340, "Precision/mAP": 0.5, '
        '"Precision/mAP@.50IOU": 0.75}}}}\\n'
    )
"""


@pytest.fixture
def clone(tmp_path):
    """A clone that holds only the script and stand-ins for the programs that it calls."""
    for folder in ("examples", "utils/shell", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "quickstart.sh", tmp_path / "examples")
    (tmp_path / "utils" / "shell" / "setup_venv.sh").write_text("setup_venv() { :; }\n")
    (tmp_path / ".venv" / "bin" / "python").write_text(FAKE_PYTHON)
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    return tmp_path


def quickstart(clone, *arguments):
    done = subprocess.run(
        ["bash", str(clone / "examples" / "quickstart.sh"), *arguments],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    asked = (clone / "asked").read_text().splitlines() if (clone / "asked").exists() else []
    return done, [shlex.split(line) for line in asked]


CLASSIFICATION = """
examples/make_digits.py {out}/digits.part
-m tools.convert {out}/digits {out}/records
main.py @examples/quickstart.args --data_dir={out}/records --results_dir={out}/run
main.py --mode=predict --model_dir={out}/run --to_predict={out}/digits/unseen --top_k=2 --results_dir={out}/predictions
"""

DETECTION = """
examples/make_scenes.py {out}/scenes.part
-m object_detection.create_coco_tfrecord --train_image_dir={out}/scenes/train --val_image_dir={out}/scenes/val \\
    --train_annotations_file={out}/scenes/annotations/train.json \\
    --val_annotations_file={out}/scenes/annotations/val.json --output_dir={out}/scene_records
main.py @examples/quickstart_detection.args --data_dir={out}/scene_records --results_dir={out}/detection_run
main.py --mode=predict --model_dir={out}/detection_run --to_predict={out}/scenes/unseen --results_dir={out}/detections
"""

DEFAULT = "examples/quickstart_output"


def commands(text, out):
    lines = text.replace("\\\n", " ").strip().splitlines()
    return [[word.format(out=out) for word in line.split()] for line in lines]


@pytest.mark.parametrize(
    ("arguments", "parts", "out"),
    [
        ([], CLASSIFICATION + DETECTION, DEFAULT),
        (["my out"], CLASSIFICATION + DETECTION, "my out"),
        (["classification"], CLASSIFICATION, DEFAULT),
        (["classification", "my out"], CLASSIFICATION, "my out"),
        (["detection"], DETECTION, DEFAULT),
        (["detection", "my out"], DETECTION, "my out"),
    ],
    ids=["nothing", "folder", "part 1", "part 1 and folder", "part 2", "part 2 and folder"],
)
def test_it_does_the_parts_that_are_named_in_the_folder_that_is_named(clone, arguments, parts, out):
    done, asked = quickstart(clone, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert asked == commands(parts.replace("\n\n", "\n"), out)


def test_at_the_end_each_part_says_what_it_reached_and_where_its_files_are(clone):
    done, _ = quickstart(clone, "out")
    lines = done.stdout.splitlines()
    assert "checkpoint:  out/run/model.ckpt-10" in lines
    assert "validation:  top-1 0.9500 of 340 images" in lines
    assert "checkpoint:  out/detection_run/model.ckpt-10" in lines
    assert "picture:     out/detections/pictures/scene.jpg" in lines
    assert lines[-1] == "validation:  AP 0.5000, at IoU 0.50 0.7500, of 340 images"


@pytest.mark.parametrize("arguments", [["detection", "out", "more"], ["out", "more"], ["--detection"]])
def test_anything_else_shows_how_it_is_called_and_does_nothing(clone, arguments):
    done, asked = quickstart(clone, *arguments)
    assert (done.returncode, done.stdout, asked) == (2, "", [])
    assert done.stderr.startswith("usage: bash examples/quickstart.sh [classification|detection]")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["detection", "--help"]])
def test_help_is_no_folder(clone, arguments):
    done, asked = quickstart(clone, *arguments)
    assert (done.returncode, done.stderr, asked) == (0, "", [])
    assert "  bash examples/quickstart.sh [classification|detection] [output folder]\n" in done.stdout


def test_images_that_are_there_are_not_made_again(clone):
    (clone / "out" / "scenes").mkdir(parents=True)
    (clone / "out" / "digits").mkdir()
    _, asked = quickstart(clone, "out")
    steps = commands(CLASSIFICATION, "out") + commands(DETECTION, "out")
    assert asked == [step for step in steps if "make_" not in step[0]]


def test_the_recipes_are_there():
    for name in ("quickstart.args", "quickstart_detection.args"):
        assert (ROOT / "examples" / name).is_file()
