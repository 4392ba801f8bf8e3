"""Fine-tuning from end to end, with the commands that users type."""

import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.runtime.runs import values, write_data
from utils.dllogger_utils import read_log

pytestmark = pytest.mark.slow


def command(module, *arguments):
    words = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def done(module, *arguments):
    finished = command(module, *arguments)
    assert finished.returncode == 0, finished.stderr
    return finished


def test_train_tune_average_convert_evaluate(tmp_path):
    data = write_data(tmp_path / "data")
    common = ("--arch=resnet50", f"--data_dir={data}", "--image_size=16", "--batch_size=4", "--seed=3", "--lr_init=2")
    program = "tests.runtime.tiny_main"
    done(program, *common, "--mode=train", "--num_iter=1", f"--results_dir={tmp_path / 'base'}", "--num_classes=7")
    tuned = tmp_path / "tuned"
    finished = done(
        program,
        *(*common, "--mode=train_and_evaluate", "--num_iter=2", f"--results_dir={tuned}", "--checkpoint_every=4"),
        *(f"--finetune_checkpoint={tmp_path / 'base'}", "--freeze_backbone", "--head_lr_multiplier=2"),
        *("--ema_decay=0.9", "--use_final_conv"),
    )
    assert "new, the checkpoint has other classes" in finished.stderr
    base, found = values(tmp_path / "base" / "model.ckpt-5"), values(tuned / "model.ckpt-10")
    np.testing.assert_array_equal(found["resnet50/conv2d/conv2d/kernel"], base["resnet50/conv2d/conv2d/kernel"])
    assert found["resnet50/output/dense/kernel"].shape == (1, 1, 8, 3)
    mean, matrix = tmp_path / "mean", tmp_path / "matrix"
    done("tools.average_weights", tuned, "--last", 2, "--output", mean)
    done("tools.postprocess_weights", "--input", mean, "--output", matrix)
    evaluate = (*common[:4], "--mode=evaluate")
    losses = []
    for folder in (mean, matrix):
        done(program, *evaluate, f"--model_dir={folder}", f"--results_dir={tmp_path / 'results'}")
        losses.append(read_log(tmp_path / "results" / "log.json")[-1]["data"]["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_bad_input_ends_with_one_sentence(tmp_path):
    data = write_data(tmp_path / "data")
    common = ("--arch=resnet50", f"--data_dir={data}", "--image_size=16", "--batch_size=4", "--mode=train")
    for flags, status, sentence in (
        (("--freeze_backbone",), 2, "--freeze_backbone: there is no checkpoint to start from"),
        (("--ema_decay=1.5",), 2, "--ema_decay 1.5: must be above 0 and below 1"),
        (("--head_lr_multiplier=0",), 2, "--head_lr_multiplier 0: must be a number above 0"),
    ):
        finished = command("main", *common, f"--results_dir={tmp_path / 'run'}", *flags)
        assert finished.returncode == status
        assert sentence in finished.stderr.strip().splitlines()[-1]
        assert "Traceback" not in finished.stderr
