"""main.py in processes of its own: what it prints, its exit status, and what a signal or a kill leaves behind."""

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds ``data``."""
    folder = tmp_path_factory.mktemp("processes")
    write_data(folder / "data")
    return folder


def main_py(*arguments: str | Path) -> subprocess.CompletedProcess:
    """main.py in a process of its own."""
    command = [sys.executable, "main.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_help_answers_within_a_second_without_tensorflow():
    before = os.times()
    command = [sys.executable, "-X", "importtime", "main.py", "--help"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    after = os.times()
    assert answer.returncode == 0
    assert "--early_stop_patience" in answer.stdout
    imported = {line.split("|")[-1].strip() for line in answer.stderr.splitlines()}
    assert "utils.cmdline_helper" in imported
    assert not imported & {"tensorflow", "numpy", "PIL", "runtime.launch"}
    assert (after.children_user + after.children_system) - (before.children_user + before.children_system) < 1


def real(folder, results, mode, *more) -> tuple[str, ...]:
    """Flags of a run of the whole resnet50 on small images."""
    return (
        "--arch=resnet50", f"--mode={mode}", f"--data_dir={folder / 'data'}", f"--results_dir={results}",
        "--image_size=32", "--batch_size=4", "--iter_unit=batch", "--display_every=1", *more,
    )  # fmt: skip


def training(folder, results) -> tuple[str, ...]:
    return real(folder, results, "train", "--num_iter=8", "--seed=3", "--deterministic", "--lr_warmup_epochs=1")


@pytest.fixture(scope="module")
def really_trained(folder) -> Path:
    done = main_py(*training(folder, folder / "real"))
    assert done.returncode == 0, done.stderr
    return folder / "real"


@pytest.mark.slow
def test_sigterm_saves_and_ends_with_status_75_and_the_same_command_ends_with_the_same_weights(
    folder, really_trained, tmp_path
):
    command = [sys.executable, "main.py", *training(folder, tmp_path)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        next(line for line in process.stdout if " - (0, 2) " in line)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=600)
    assert process.returncode == 75, error
    assert "stopped by SIGTERM: rerun the same command to continue" in error
    stopped = int(tf.train.latest_checkpoint(str(tmp_path)).rpartition("-")[2])
    assert 2 <= stopped < 8
    resumed = main_py(*training(folder, tmp_path))
    assert resumed.returncode == 0, resumed.stderr
    assert_same_checkpoint(tmp_path / "model.ckpt-8", really_trained / "model.ckpt-8")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["evaluate", "inference_benchmark"])
def test_the_last_line_but_one_of_an_evaluation_is_its_summary(folder, really_trained, tmp_path, mode):
    more = ("--warmup_steps=1",) if mode == "inference_benchmark" else ()
    done = main_py(*real(folder, tmp_path, mode, "--num_iter=2", f"--model_dir={really_trained}", *more))
    assert done.returncode == 0, done.stderr
    *_, summary, last = done.stdout.splitlines()
    assert last == "Evaluation finished."
    assert re.match(r"DLL .* - \(\) .*top1_accuracy : .*eval_throughput : ", summary)


@pytest.mark.slow
def test_the_last_line_of_a_benchmark_of_training_is_its_summary(folder, tmp_path):
    done = main_py(*real(folder, tmp_path, "training_benchmark", "--num_iter=3", "--warmup_steps=1"))
    assert done.returncode == 0, done.stderr
    assert re.match(r"DLL .* - \(\) .*train_throughput : ", done.stdout.splitlines()[-1])
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_process_trains_and_evaluates_and_another_names_images_with_its_best_weights(folder, tmp_path):
    flags = real(folder, tmp_path / "run", "train_and_evaluate", "--num_iter=3", "--seed=3", "--lr_warmup_epochs=0")
    done = main_py(*flags)
    assert done.returncode == 0, done.stderr
    assert re.match(r"DLL .* - \(\) .*top1_accuracy : .*train_throughput : ", done.stdout.splitlines()[-1])
    assert "Traceback" not in done.stderr
    (tmp_path / "images").mkdir()
    for number in range(2):
        (tmp_path / "images" / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no image")
    weights, images = f"--model_dir={tmp_path / 'run' / 'best'}", f"--to_predict={tmp_path / 'images'}"
    named = main_py("--arch=resnet50", "--mode=predict", weights, images, f"--results_dir={tmp_path}")
    assert named.returncode == 3, named.stderr
    rows = json.loads((tmp_path / "predictions.json").read_text())
    assert [(Path(row["file"]).name, "error" in row) for row in rows] == [
        ("0.png", False),
        ("1.png", False),
        ("broken.jpg", True),
    ]
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 4
    assert "broken.jpg  not read: " in named.stdout


def tiny_main(*arguments: str | Path) -> list[str]:
    """The command for tiny networks in a process, which --deterministic needs."""
    return [sys.executable, "-m", "tests.runtime.tiny_main", *map(str, arguments)]


def killed_at(line, command) -> int:
    """Runs a command until it prints certain words, kills it, and returns its status."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        next(text for text in process.stdout if line in text)
        process.kill()
        return process.wait(600)


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_from_its_last_checkpoint_bit_for_bit(folder, tmp_path):
    more = ("--num_iter=12", "--checkpoint_every=1", "--seed=3", "--deterministic", "--mixup=0.2")
    whole = real(folder, tmp_path / "whole", "train", *more, "--lr_warmup_epochs=0")
    killed = real(folder, tmp_path / "killed", "train", *more, "--lr_warmup_epochs=0")
    subprocess.run(tiny_main(*whole), cwd=ROOT, check=True, capture_output=True, timeout=600)
    assert killed_at(" - (0, 3) ", tiny_main(*killed)) == -signal.SIGKILL
    assert killed_at(" - (1, 8) ", tiny_main(*killed)) == -signal.SIGKILL
    subprocess.run(tiny_main(*killed), cwd=ROOT, check=True, capture_output=True, timeout=600)
    assert not list((tmp_path / "killed").glob(".*"))
    for step in range(8, 13):
        assert_same_checkpoint(tmp_path / "killed" / f"model.ckpt-{step}", tmp_path / "whole" / f"model.ckpt-{step}")
