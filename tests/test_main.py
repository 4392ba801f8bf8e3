"""main.py as a process: its output, its exit status, and its state after a signal or a kill."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tests.conftest import ROOT
from tests.runtime.runs import assert_same_checkpoint, picture, write_data


def main_py(*arguments: str | Path) -> subprocess.CompletedProcess:
    """Runs main.py in a separate process."""
    command = [sys.executable, "main.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize(("asked", "status"), [(["--help", "all"], 0), ([], 2)])
def test_help_answers_within_a_second_without_tensorflow(asked, status):
    before = os.times()
    command = [sys.executable, "-X", "importtime", "main.py", *asked]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    after = os.times()
    assert answer.returncode == status
    assert ("--early_stop_patience" in answer.stdout) == (status == 0)
    assert ("python main.py --mode=train_and_evaluate" in answer.stderr) == (status == 2)
    imported = {line.split("|")[-1].strip() for line in answer.stderr.splitlines()}
    assert "utils.cmdline_helper" in imported
    assert not imported & {"tensorflow", "numpy", "PIL", "runtime.launch"}
    assert (after.children_user + after.children_system) - (before.children_user + before.children_system) < 1


@pytest.mark.slow
def test_a_process_trains_and_evaluates_and_another_names_images_with_its_best_weights(tmp_path):
    """Uses the whole resnet18, on small images."""
    done = main_py(
        *("--arch=resnet18", "--mode=train_and_evaluate", f"--data_dir={write_data(tmp_path / 'data')}"),
        *(f"--results_dir={tmp_path / 'run'}", "--image_size=32", "--batch_size=4", "--iter_unit=batch"),
        *("--display_every=1", "--num_iter=3", "--seed=3", "--lr_warmup_epochs=0"),
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"DLL .* - \(\) .*top1_accuracy : .*train_throughput : ", done.stdout.splitlines()[-1])
    assert "Traceback" not in done.stderr
    (tmp_path / "images").mkdir()
    for number in range(2):
        (tmp_path / "images" / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no image")
    weights, images = f"--model_dir={tmp_path / 'run' / 'best'}", f"--to_predict={tmp_path / 'images'}"
    named = main_py("--arch=resnet18", "--mode=predict", weights, images, f"--results_dir={tmp_path}")
    assert named.returncode == 3, named.stderr
    rows = json.loads((tmp_path / "predictions.json").read_text())
    assert [(Path(row["file"]).name, "error" in row) for row in rows] == [
        ("0.png", False),
        ("1.png", False),
        ("broken.jpg", True),
    ]
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 4
    assert "broken.jpg  not read: " in named.stdout


def started(*flags: str | Path) -> subprocess.Popen:
    """Starts main.py with tiny networks in a separate process, which --deterministic needs."""
    command = [sys.executable, "-m", "tests.runtime.tiny_main", *map(str, flags)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=environment)


def signalled(line: str, number: signal.Signals, flags: tuple[str, ...]) -> tuple[int, str]:
    """Sends a signal when certain words are printed; returns the exit status and standard error."""
    with started(*flags) as process:
        next(text for text in process.stdout if line in text)
        process.send_signal(number)
        _, error = process.communicate(timeout=600)
    return process.returncode, error


@pytest.mark.slow
def test_a_process_that_is_stopped_or_killed_goes_on_from_its_last_checkpoint_bit_for_bit(tmp_path):
    given = ("--num_iter=12", "--iter_unit=batch", "--checkpoint_every=1", "--display_every=1", "--image_size=32")
    given += ("--batch_size=4", "--seed=3", "--deterministic", "--mixup=0.2", "--lr_warmup_epochs=1")
    given += ("--arch=resnet50", "--mode=train", f"--data_dir={write_data(tmp_path / 'data')}")
    whole, broken = ((*given, f"--results_dir={tmp_path / name}") for name in ("whole", "broken"))
    with started(*whole) as process:
        _, error = process.communicate(timeout=600)
    assert process.returncode == 0, error

    status, error = signalled(" - (0, 2) ", signal.SIGTERM, broken)
    assert status == 75, error
    assert "stopped by SIGTERM: rerun the same command to continue" in error
    assert 2 <= int(tf.train.latest_checkpoint(str(tmp_path / "broken")).rpartition("-")[2]) < 12
    assert signalled(" - (1, 8) ", signal.SIGKILL, broken)[0] == -signal.SIGKILL
    with started(*broken) as process:
        _, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    assert not list((tmp_path / "broken").glob(".*"))
    for step in range(8, 13):
        assert_same_checkpoint(tmp_path / "broken" / f"model.ckpt-{step}", tmp_path / "whole" / f"model.ckpt-{step}")
