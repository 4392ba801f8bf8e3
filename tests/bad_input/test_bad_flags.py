"""Flags that make no sense are refused before anything is written."""

import re
import subprocess
import sys

import pytest

from tests.bad_input.launching import USAGE, assert_ends, launch, train_on
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--num_iter=0"], ["--num_iter 0"]),
        (["--num_iter=-3"], ["--num_iter -3"]),
        (["--batch_size=0"], ["--batch_size 0"]),
        (["--batch_size=most"], ["--batch_size most: must be an integer or auto"]),
        (["--static_loss_scale=128"], ["--static_loss_scale 128", "--amp"]),
        (["--use_static_loss_scaling"], ["--amp"]),
        (["--data_idx_dir=x"], ["--data_idx_dir", "--dali"]),
        (["--mode=train_and_evaluate", "--early_stop_patience=2"], ["--early_stop_patience 2", "--eval_every_epochs"]),
        (["--to_predict=x.png"], ["--to_predict x.png", "--mode predict"]),
        (["--cpu", "--gpu_id=0"], ["--cpu", "--gpu_id"]),
        (["--symmetric"], ["--symmetric", "--quantize"]),
        (["--arch=vgg"], ["vgg", "resnet50"]),
        (["--batch_sice=4"], ["--batch_sice"]),
    ],
)
def test_flags_that_make_no_sense_are_refused_before_anything_is_written(sound, tmp_path, flags, words):
    assert_ends(train_on(sound / "data", tmp_path / "r", *flags), USAGE, *words)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("mode", ["training_benchmark", "inference_benchmark"])
def test_a_benchmark_with_nothing_left_to_measure(tmp_path, mode):
    iterations = ("--num_iter=5", "--warmup_steps=5", "--iter_unit=batch")
    result = launch(f"--mode={mode}", "--batch_size=4", f"--results_dir={tmp_path}", *iterations)
    assert_ends(result, USAGE, "--num_iter", "--warmup_steps 5")


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_a_mode_that_needs_data_says_so(tmp_path, mode):
    assert_ends(
        launch(f"--mode={mode}", "--batch_size=4", f"--results_dir={tmp_path}"), USAGE, f"--mode {mode}", "--data_dir"
    )


def test_the_program_prints_one_sentence_for_a_wrong_flag_and_ends_with_status_2(tmp_path):
    command = [sys.executable, "main.py", "--mode=train", "--batch_size=4", "--num_iter=0", "--data_dir=x"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == USAGE
    assert ended.stdout == ""
    assert re.fullmatch(r"main\.py: error: --num_iter 0.*\n", ended.stderr)
