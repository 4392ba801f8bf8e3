"""Fine-tuning from end to end, with the commands that users type."""

import numpy as np
import pytest

from tests.runtime.runs import network, run, values, write_data
from tools import average_weights, postprocess_weights
from utils.errors import UsageError

pytestmark = pytest.mark.slow


def test_train_tune_average_convert_evaluate(tmp_path):
    data = write_data(tmp_path / "data")
    common = ("--arch=resnet50", f"--data_dir={data}", "--image_size=16", "--batch_size=4", "--seed=3", "--lr_init=2")
    base = run(*common, "--mode=train", "--num_iter=1", f"--results_dir={tmp_path / 'base'}", "--num_classes=7")
    assert base.status == 0, base.error
    tuned = tmp_path / "tuned"
    finished = run(
        *(*common, "--mode=train_and_evaluate", "--num_iter=2", f"--results_dir={tuned}", "--checkpoint_every=4"),
        *(f"--finetune_checkpoint={tmp_path / 'base'}", "--freeze_backbone", "--head_lr_multiplier=2"),
        *("--ema_decay=0.9", "--use_final_conv"),
    )
    assert finished.status == 0, finished.error
    assert "new, the checkpoint has other classes" in finished.error
    before, after = values(tmp_path / "base" / "model.ckpt-5"), values(tuned / "model.ckpt-10")
    np.testing.assert_array_equal(after["resnet50/conv2d/conv2d/kernel"], before["resnet50/conv2d/conv2d/kernel"])
    assert after["resnet50/output/dense/kernel"].shape == (1, 1, 8, 3)
    mean, matrix = tmp_path / "mean", tmp_path / "matrix"
    assert average_weights.main([str(tuned), "--last", "2", "--output", str(mean)]) == 0
    assert postprocess_weights.main(["--input", str(mean), "--output", str(matrix)]) == 0
    losses = []
    for folder in (mean, matrix):
        evaluated = run(
            *common[:4], "--mode=evaluate", f"--model_dir={folder}", f"--results_dir={tmp_path / 'results'}"
        )
        assert evaluated.status == 0, evaluated.error
        losses.append(evaluated.summary["loss"])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--ema_decay=1.5", "--ema_decay 1.5: must be above 0 and below 1"),
        ("--head_lr_multiplier=0", "--head_lr_multiplier 0: must be a number above 0"),
    ],
)
def test_bad_input_is_refused_with_one_sentence(flag, sentence, data_dir, tmp_path):
    with pytest.raises(UsageError) as raised:
        run(*network(data_dir, tmp_path, "train"), "--batch_size=4", flag)
    assert str(raised.value).startswith(sentence)


def test_a_frozen_backbone_needs_a_checkpoint(data_dir, tmp_path):
    refused = run(*network(data_dir, tmp_path, "train"), "--batch_size=4", "--freeze_backbone")
    assert refused.status == 2
    assert "--freeze_backbone: there is no checkpoint to start from" in refused.error.splitlines()[-1]
