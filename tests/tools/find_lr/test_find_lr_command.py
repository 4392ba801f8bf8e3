"""Range tests of tiny networks in this process: their steps, files, suggestion, and refusals."""

import contextlib
import io
import json
import os
import re
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from tests.runtime.runs import root_logger, tiny_networks, train
from tools.find_lr.__main__ import main, make_parser
from tools.find_lr.suggestion import STEEPEST

SMALL = ("--arch=resnet18", "--image_size=16", "--batch_size=4", "--steps=20")
DETECTOR = ("--arch=ssd320", "--image_size=64", "--batch_size=2", "--steps=20", "--no_color_jitter")
RISING = ("--lr_low=0.01", "--lr_high=1000", "--seed=1")
CLASSIFIER_FLAGS = ("--optimizer=adamw", "--mixup=0.2", "--label_smoothing=0.1", "--dropout=0.2")


def find_lr(*flags):
    """Runs the command in this process; returns its status, output and errors."""
    output, error = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ),
        tiny_networks(),
        root_logger(),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(error),
    ):
        status = main([*map(str, flags)])
    return status, output.getvalue(), error.getvalue()


def files_in(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def rising(data_dir, tmp_path_factory):
    """A test over the whole range: its folder, status, output and errors."""
    folder = tmp_path_factory.mktemp("rising") / "LR"
    before = files_in(data_dir)
    flags = (*SMALL, "--steps=60", "--lr_low=0.1", "--lr_high=1e4", f"--data_dir={data_dir}", "--seed=1", "--lr_init=7")
    found = find_lr(*flags, f"--output={folder}")
    assert files_in(data_dir) == before
    return folder, *found


def test_the_rate_rises_in_equal_ratios_between_the_bounds(rising):
    folder, status, _, error = rising
    assert status == 0, error
    assert "no effect here: --lr_init" in error
    facts = json.loads((folder / "find_lr.json").read_text())
    rates = np.array([row["learning_rate"] for row in facts["rates"]])
    assert 20 < len(rates) < 60, "it ends when the loss diverges"
    # 0.1 and 1e4 for a batch of 256 are these for one of 4.
    np.testing.assert_allclose(rates, np.geomspace(0.1 / 64, 1e4 / 64, 60)[: len(rates)], rtol=1e-5)
    assert [row["lr_init"] for row in facts["rates"]] == pytest.approx([*(64 * rates)])


def test_the_suggestion_is_printed_as_the_flag_and_as_the_rate(rising):
    folder, _, output, _ = rising
    facts = json.loads((folder / "find_lr.json").read_text())
    sentence = r"suggestion: --lr_init=(\S+), which is a learning rate of (\S+) for this global batch of 4: (.+)"
    flag, rate, rule = re.search(sentence, output).groups()
    assert float(flag) == pytest.approx(facts["suggestion"]["lr_init"], rel=0.05)
    assert float(rate) == pytest.approx(facts["suggestion"]["learning_rate"], rel=0.05)
    assert facts["suggestion"]["lr_init"] == pytest.approx(64 * facts["suggestion"]["learning_rate"])
    assert rule == facts["rule"] == STEEPEST
    losses = {row["learning_rate"]: row["smoothed"] for row in facts["rates"]}
    assert losses[facts["suggestion"]["learning_rate"]] < 0.7 * facts["rates"][0]["loss"], "it falls there"
    assert facts["suggestion"]["learning_rate"] < facts["lowest"]["learning_rate"] < facts["diverged"]["learning_rate"]
    assert len(output.splitlines()) < 30


def test_only_the_output_is_written(rising):
    folder = rising[0]
    assert {path.name for path in folder.parent.rglob("*")} == {"LR", "find_lr.json", "find_lr.png"}
    with Image.open(folder / "find_lr.png") as chart:
        assert chart.width > chart.height > 300


@pytest.mark.parametrize(("arch", "more"), [("resnet18", CLASSIFIER_FLAGS), ("resnet50", ("--accumulate_steps=2",))])
def test_its_steps_are_those_of_main_py_with_the_same_flags(data_dir, tmp_path, arch, more):
    flags = (*more, "--cpu", f"--arch={arch}")
    parts = 2 if "--accumulate_steps=2" in more else 1
    rate = 0.05 * parts * 4 / 256
    bounds = ("--lr_low=0.05", "--lr_high=0.05000001")
    status, _, error = find_lr(*SMALL, *flags, *bounds, f"--data_dir={data_dir}", "--seed=3", f"--output={tmp_path}/LR")
    assert status in (0, 1), error  # a constant rate need not suggest anything
    rows = json.loads((tmp_path / "LR" / "find_lr.json").read_text())["rates"]
    assert {round(row["learning_rate"] / rate, 4) for row in rows} == {1.0}
    schedule = ("--schedule=constant", "--lr_init=0.05", "--num_iter=21", "--iter_unit=batch", "--display_every=1")
    done = train(data_dir, tmp_path / "run", *flags, *schedule)
    assert done.status == 0, done.error
    steps = [record["data"] for record in done.logged if "total_loss" in record["data"] and len(record["step"]) == 2]
    losses = [data["total_loss"] - data["l2_loss"] for data in steps]
    assert len(losses) == 21
    np.testing.assert_allclose([row["loss"] for row in rows], losses[1:], rtol=2e-4)


def test_detectors_and_bfloat16_are_tested_too(scenes, data_dir, tmp_path):
    status, output, error = find_lr(*DETECTOR, f"--data_dir={scenes}", f"--output={tmp_path}/boxes", *RISING)
    assert status == 0, error
    assert "suggestion: --lr_init=" in output
    half = ("--amp", f"--data_dir={data_dir}", f"--output={tmp_path}/half", "--seed=1")
    with mock.patch("runtime.setup.set_up.cpu_features", return_value=frozenset({"avx512_bf16"})):
        status, _, error = find_lr(*SMALL, *half)
    assert status in (0, 1), error
    assert json.loads((tmp_path / "half" / "find_lr.json").read_text())["precision"] == "bfloat16"


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--steps=19",), "--steps 19: must be at least 20"),
        (("--lr_low=0",), "--lr_low 0: must be a number above 0"),
        (("--lr_high=1e-6",), "--lr_high 1e-06: must be a number above --lr_low, 1e-05"),
        (("--lr_high=nan",), "--lr_high nan: must be a number above"),
        (("--batch_size=0",), "--batch_size 0: must be a positive integer"),
        (("--batch_size=64",), "--batch_size 64"),
        (("--batch_size=auto",), "--batch_size auto: only main.py measures the largest batch; give a number"),
    ],
)
def test_bad_input_is_a_sentence_and_leaves_nothing(data_dir, tmp_path, flags, sentence):
    status, _, error = find_lr(*SMALL, f"--data_dir={data_dir}", f"--output={tmp_path}/LR", *flags)
    assert status == 2
    assert sentence in error
    assert "Traceback" not in error
    assert not (tmp_path / "LR").exists()


def test_no_folder_but_its_own_is_written_to(data_dir, trained, tmp_path):
    for folder, what in ((trained, "is not empty and holds no range test"), (data_dir / "dataset.json", "is a file")):
        status, _, error = find_lr(*SMALL, f"--data_dir={data_dir}", f"--output={folder}")
        assert status == 2
        assert what in error
    with mock.patch.dict(os.environ, {"LAUNCH_SIZE": "2", "LAUNCH_RANK": "0", "LAUNCH_JOB": "x"}):
        status, _, error = find_lr(*SMALL, f"--data_dir={data_dir}", f"--output={tmp_path}/LR")
    assert status == 2
    assert "2 processes: a range test runs in one" in error


def test_a_folder_that_cannot_be_written_is_found_before_the_training(data_dir):
    status, output, error = find_lr(*SMALL, f"--data_dir={data_dir}", "--output=/proc/LR")
    assert (status, output) == (1, "")
    assert error.startswith("error: --output /proc/LR: cannot be written (")


def test_the_help_lists_only_flags_that_act():
    text = make_parser().format_help()
    for flag in ("arch", "optimizer", "loss", "mixup", "amp", "dali", "output", "lr_low"):
        assert re.search(rf"--{flag}[ ,\n]", text), flag
    for flag in ("--lr_init ", "--results_dir", "--num_iter ", "--schedule", "--top_k"):
        assert not re.search(rf"^  {flag}", text, re.MULTILINE), flag
