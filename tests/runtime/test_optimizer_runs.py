"""Whole runs with an optimizer that has two slots and its own state, and later uses of their checkpoints."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from runtime.devices.precision import Precision
from runtime.training.stored_options import check_optimizer
from tests.runtime.runs import assert_same_checkpoint, train, values
from tests.tools.weights.published_checkpoints import convert
from tools.weights.checkpoint_rewriting import average_weights, rewrite_classifier
from utils.cmdline_helper import parse
from utils.errors import UsageError
from utils.optimizer_table import OPTIMIZERS, STATE_PATTERN
from utils.weights.checkpoint_contents import is_weight
from utils.weights.checkpoint_files import read_metadata

KERNEL = "resnet50/output/dense/kernel"
STATE = {"beta1_power", "beta2_power"}
STEPS = ("--num_iter=3", "--iter_unit=batch", "--checkpoint_every=2", "--lr_init=0.1")
ALL_AT_ONCE = ("--head_lr_multiplier=4", "--ema_decay=0.9", "--histograms_every=1")
ADAM = (*STEPS, *ALL_AT_ONCE, "--optimizer=adam")


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """Checkpoints 2 and 3 of an uninterrupted run with a dynamic loss scale. Tests must not change them."""
    results = tmp_path_factory.mktemp("adam") / "run"
    with pytest.MonkeyPatch.context() as patch:
        dynamic = Precision(compute_dtype=tf.float32, dynamic_loss_scale=True)
        patch.setattr("runtime.setup.set_up.choose_precision", lambda *_, **__: dynamic)
        finished = train(data_dir, results, *ADAM)
        assert finished.status == 0, finished.error
        write_half(results, results.parent / "resumed")
        assert train(data_dir, results.parent / "resumed", *ADAM).status == 0
    return results


def write_half(run, folder):
    """The folder of a run that was interrupted after step 2."""
    folder.mkdir()
    for file in run.glob("model.ckpt-2.*"):
        shutil.copy(file, folder)
    tf.compat.v1.train.update_checkpoint_state(str(folder), str(folder / "model.ckpt-2"))


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one(run):
    assert_same_checkpoint(run / "model.ckpt-3", run.parent / "resumed" / "model.ckpt-3")
    assert read_metadata(run / "model.ckpt-3")["optimizer"] == "adam"


@pytest.mark.slow
def test_lamb_with_all_that_may_be_drawn_or_scaled_resumes_bit_for_bit_too(data_dir, tmp_path):
    flags = (*STEPS, "--head_lr_multiplier=4", "--optimizer=lamb", "--clip_norm=0.5", "--lr_warmup_epochs=0")
    flags += ("--stochastic_depth=0.5", "--dropout=0.3", "--adaptive_clip", "--layer_decay=0.7")
    flags += ("--ema_decay=0.9", "--ema_decay_steps=5")
    assert train(data_dir, tmp_path / "run", *flags).status == 0
    write_half(tmp_path / "run", tmp_path / "resumed")
    resumed = train(data_dir, tmp_path / "resumed", *flags)
    assert resumed.status == 0, resumed.error
    assert "so far in this run" not in resumed.error
    assert_same_checkpoint(tmp_path / "run" / "model.ckpt-3", tmp_path / "resumed" / "model.ckpt-3")
    before, after = values(tmp_path / "run" / "model.ckpt-2"), values(tmp_path / "run" / "model.ckpt-3")
    slots = [f"{KERNEL}/{slot}" for slot in OPTIMIZERS["lamb"].slots]
    assert all(np.any(before[key] != after[key]) for key in (KERNEL, *slots))


def test_a_checkpoint_holds_each_slot_of_each_trained_variable_and_the_state_once(run):
    stored = values(run / "model.ckpt-3")
    trained = {name.removesuffix("/Adam") for name in stored if name.endswith("/Adam")}
    assert KERNEL in trained
    assert {name for name in stored if STATE_PATTERN.search(name)} == STATE | {
        f"{name}/{slot}" for name in trained for slot in ("Adam", "Adam_1")
    }
    assert stored["beta1_power"] == pytest.approx(0.9**4)


def test_going_on_with_another_optimizer_is_refused(run, data_dir, trained):
    refused = train(data_dir, run, *STEPS)
    assert refused.status == 2
    assert (
        f"--optimizer momentum: {run}/model.ckpt-3 was trained with adam, and a run has to continue with its "
        "optimizer; give --optimizer adam, or start a new run from these weights with --finetune_checkpoint"
    ) in refused.error
    refused = train(data_dir, trained, *STEPS, "--optimizer=nesterov")  # a checkpoint without an entry for it
    assert refused.status == 2
    assert f"--optimizer nesterov: {trained}/model.ckpt-5 was trained with momentum" in refused.error


def test_a_new_run_takes_the_weights_and_nothing_of_the_optimizer(run, data_dir, tmp_path):
    warm = ("--finetune_checkpoint", run, "--optimizer=nesterov", "--lr_init=0", "--num_iter=1", "--iter_unit=batch")
    started = train(data_dir, tmp_path / "run", *warm, "--log_level=info")
    assert started.status == 0, started.error
    stored = values(tmp_path / "run" / "model.ckpt-1")
    assert not any("Adam" in name or name in STATE for name in stored)
    assert (stored[KERNEL] == values(run / "model.ckpt-3")[f"{KERNEL}/ExponentialMovingAverage"]).all()


def test_tools_know_what_belongs_to_the_optimizer(run, tmp_path):
    before = values(run / "model.ckpt-3")
    rewrite_classifier(run / "model.ckpt-3", None, tmp_path / "conv")
    after = values(tmp_path / "conv" / "new.ckpt")
    reshaped = {name for name in before if before[name].shape != after[name].shape}
    assert reshaped == {f"{KERNEL}{kind}" for kind in ("", "/Adam", "/Adam_1", "/ExponentialMovingAverage")}

    average_weights([run], None, tmp_path / "mean")
    mean = values(tmp_path / "mean" / "model.ckpt-3")
    assert set(mean) == {name for name in before if is_weight(name)} | {"global_step"}
    assert "optimizer" not in read_metadata(tmp_path / "mean" / "model.ckpt-3")

    assert convert(run, tmp_path / "nvidia", "--to=nvidia", "--eval_weights=raw") == 0
    exported = values(tmp_path / "nvidia" / "model.ckpt-3")
    kept = {name for name in before if STATE_PATTERN.search(name) or is_weight(name)}
    assert set(exported) == kept | {"global_step"}
    assert all(np.array_equal(exported[name], before[name]) for name in kept)
    assert convert(run, tmp_path / "here") == 0
    assert "optimizer" not in read_metadata(tmp_path / "here" / "model.ckpt-0")
    config = parse(["--mode=train", "--batch_size=4", "--data_dir=D", "--optimizer=nesterov"], {}).config
    for weights in (tmp_path / "mean" / "model.ckpt-3", tmp_path / "here" / "model.ckpt-0"):
        check_optimizer(config, weights, read_metadata(weights))  # any optimizer may continue from weights alone
    with pytest.raises(UsageError, match="was trained with adam"):
        check_optimizer(config, tmp_path / "nvidia" / "model.ckpt-3", {"origin": "nvidia"})
