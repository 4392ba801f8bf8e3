"""Training is resumed, extended and warm-started; interruptions do not change the result."""

import shutil
import signal
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from runtime.devices.precision import Precision
from runtime.planning.plan import plan_training
from runtime.setup.set_up import set_up
from runtime.trainer import Trainer, advance
from tests.runtime.processes import ALONE, never_stopping
from tests.runtime.runs import (
    assert_same_checkpoint,
    at_step,
    network,
    send,
    tiny_networks,
    train,
    values,
)
from utils.checkpoints import CheckpointDir
from utils.cmdline_helper import parse
from utils.config import Duration, ExperimentConfig, RunConfig
from utils.convolution_table import Table, add_to_table, this_machine
from utils.data_config import DataConfig
from utils.dllogger_utils import read_log
from utils.errors import RunError, UsageError
from utils.input.batching import Position
from utils.weights.checkpoint_files import read_metadata, steps_in

ALL_RANDOM = ("--mixup=0.2", "--label_smoothing=0.1", "--cosine_lr", "--lr_init=2", "--deterministic")
EIGHT_STEPS = ("--num_iter=8", "--iter_unit=batch", "--display_every=1")


def assert_same_run(whole, resumed):
    """Asserts that two folders and the logs of their launches are equal bit for bit."""
    (folder, one), (other_folder, several) = whole, resumed
    assert_same_checkpoint(folder / "model.ckpt-8", other_folder / "model.ckpt-8")
    assert read_metadata(folder / "model.ckpt-8") == read_metadata(other_folder / "model.ckpt-8")
    assert [loss for launch in several for loss in launch.losses] == one.losses
    epochs = [r["data"] for launch in several for r in launch.logged if len(r["step"]) == 1]
    assert epochs == [r["data"] for r in one.logged if len(r["step"]) == 1] != []


def measured_convolutions(cache, monkeypatch):
    """Stores other choices than the built-in ones for two convolutions of the tiny network; returns these as JSON."""
    monkeypatch.setattr("utils.convolution_table.user_cache", lambda: cache)
    choices = {
        "4 x 16 x 16 x 3, 7 x 7 to 4, stride 2, groups 1, SAME, float32": ["patches", "native", "patches"],
        "4 x 4 x 4 x 4, 3 x 3 to 4, stride 1, groups 1, SAME, float32": ["native", "mirrored", "native"],
    }
    names = {key: tuple(choice) for key, choice in choices.items()}
    table = Table(measured="2026-11-30", choices=names, times={key: {} for key in choices})
    add_to_table(this_machine(tf.__version__, ALONE.threads, "NHWC", "float32"), table, lambda key, choice: None)
    return choices


class Killed(BaseException):
    """The end of a process that nothing can handle."""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_no_step_is_missing_from_the_log_of_a_run_that_was_killed_around_a_checkpoint(data_dir, tmp_path, when):
    """The record of a step, and of the epoch that it ends, is on disk before the checkpoint that makes it final."""
    flags, save, flushed = (*EIGHT_STEPS, "--checkpoint_every=5"), CheckpointDir.save, []

    def killed(self, session, saver, step, metadata):
        flushed[:] = [record["step"] for record in read_log(tmp_path / "log.json") if record["type"] == "LOG"]
        if when == "after":
            save(self, session, saver, step, metadata)
        raise Killed

    with mock.patch.object(CheckpointDir, "save", killed), pytest.raises(Killed):
        train(data_dir, tmp_path, *flags)
    assert flushed[-2:] == [[0, 5], [0]]
    assert steps_in(tmp_path) == ([5] if when == "after" else [])
    resumed = train(data_dir, tmp_path, *flags)
    assert [step for step, _ in resumed.losses] == list(range(6 if when == "after" else 1, 9))
    steps = [tuple(record["step"]) for record in read_log(tmp_path / "log.json") if record["type"] == "LOG"]
    assert {(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0,), (1, 6), (1, 7), (1, 8)} <= set(steps)


@pytest.mark.slow
def test_a_run_ended_by_its_limit_and_by_signals_equals_the_uninterrupted_one(data_dir, tmp_path, monkeypatch):
    """Five steps an epoch: one launch crosses an epoch end, another begins at one.

    The convolutions are those of a measured table, which is gone after the first launch.
    """
    flags = (*EIGHT_STEPS, *ALL_RANDOM)
    measured = measured_convolutions(tmp_path / "cache", monkeypatch)
    whole = train(data_dir, tmp_path / "whole", *flags)
    assert whole.parameters["convolutions"] == "measured 2026-11-30 on this machine (2 shapes)"
    assert read_metadata(tmp_path / "whole" / "model.ckpt-8")["convolutions"] == measured
    launches = [train(data_dir, tmp_path / "parts", *flags, "--run_iter=2")]
    shutil.rmtree(tmp_path / "cache")
    with at_step(5, send(signal.SIGTERM)):
        launches.append(train(data_dir, tmp_path / "parts", *flags))
    assert steps_in(tmp_path / "parts") == [2, 5]
    with at_step(7, send(signal.SIGUSR1)):
        launches.append(train(data_dir, tmp_path / "parts", *flags))
    launches.append(train(data_dir, tmp_path / "parts", *flags))
    assert [launch.status for launch in launches] == [0, 75, 75, 0]
    assert "SIGUSR1: rerun the same command to continue" in launches[2].error
    assert "no entry for 2 of 4 shapes" in launches[0].error
    assert "would choose others for 2 of 4 shapes" in launches[1].error
    assert launches[1].parameters["convolutions"] == "measured (2 shapes), as recorded in the checkpoint"
    assert [step for launch in launches for step, _ in launch.losses] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert_same_run((tmp_path / "whole", whole), (tmp_path / "parts", launches))
    assert len({loss for _, loss in whole.losses}) == 8


@pytest.mark.slow
def test_a_resumed_run_keeps_its_loss_scale_and_the_batches_that_overflowed(data_dir, tmp_path, monkeypatch):
    half = Precision(compute_dtype=tf.float16, dynamic_loss_scale=True)
    monkeypatch.setattr("runtime.setup.set_up.choose_precision", lambda *_, **__: half)
    monkeypatch.setattr("utils.optimizers.GROWTH_INTERVAL", 2)
    monkeypatch.setattr("utils.optimizers.INITIAL_LOSS_SCALE", 2.0**19)
    flags = (*EIGHT_STEPS, "--lr_init=2")
    with at_step(-1, lambda: None) as seen:
        whole = train(data_dir, tmp_path / "whole", *flags)
    assert len(seen) > 8  # some were skipped
    launches = [train(data_dir, tmp_path / "parts", *flags, *limit) for limit in (("--run_iter=3",), ())]
    assert_same_run((tmp_path / "whole", whole), (tmp_path / "parts", launches))
    position = read_metadata(tmp_path / "whole" / "model.ckpt-8")["position"]
    assert position == {"epoch": len(seen) // 5, "example": 4 * (len(seen) % 5)}
    assert values(tmp_path / "whole" / "model.ckpt-8")["loss_scale"] < 2.0**19


@pytest.mark.slow
def test_another_batch_size_goes_on_from_the_saved_place_in_the_data(data_dir, tmp_path):
    with at_step(-1, lambda: None) as seen:
        train(data_dir, tmp_path, *EIGHT_STEPS, "--run_iter=3")
        resumed = train(data_dir, tmp_path, *EIGHT_STEPS, "--run_iter=2", "--batch_size=5")
    assert resumed.status == 0, resumed.error
    before, after = np.concatenate(seen[:3]), seen[3]
    assert len(after) == 5
    assert len({*before, *after}) == 12 + 5  # nothing twice in the epoch: 12 were seen, 3 are lost, 5 come
    assert read_metadata(tmp_path / "model.ckpt-5")["position"] == {"epoch": 1, "example": 5}


@pytest.mark.slow
def test_another_seed_is_another_run(data_dir, tmp_path):
    one, other = (train(data_dir, tmp_path / str(s), "--num_iter=2", *EIGHT_STEPS[1:], seed=s) for s in (3, 4))
    assert one.losses != other.losses


@pytest.mark.parametrize(
    ("start", "batches", "end"),
    [
        ((0, 0), 0, (0, 0)),
        ((0, 0), 3, (0, 12)),
        ((0, 0), 5, (1, 0)),  # 20 of 23 examples are used
        ((0, 12), 2, (1, 0)),
        ((2, 8), 12, (4, 16)),
        ((0, 9), 0, (0, 12)),  # left by a launch with batches of 3
        ((0, 9), 1, (0, 16)),
        ((0, 18), 0, (1, 0)),  # nothing of the epoch is left for a whole batch
        ((0, 22), 0, (1, 0)),  # left by a launch with batches of 1, which uses all 23
        ((3, 22), 1, (4, 4)),
    ],
)
def test_the_place_in_the_data_advances_by_whole_batches_and_epochs(start, batches, end):
    config = ExperimentConfig(
        data=DataConfig(data_dir="data", batch_size_per_replica=4),
        run=RunConfig(mode="train", duration=Duration(value=9)),
    )
    plan = plan_training(config, 23, 1)
    assert advance(Position(epoch=start[0], example=start[1]), batches, plan) == Position(epoch=end[0], example=end[1])


@pytest.mark.slow
def test_an_extended_run_says_what_becomes_of_its_schedule(data_dir, tmp_path, trained):
    shutil.copytree(trained, tmp_path / "run")
    flags = ("--lr_init=2", "--cosine_lr")
    extended = train(data_dir, tmp_path / "run", "--num_iter=2", *flags)
    assert extended.status == 0
    # half of the cosine of 10 steps is done: half the peak of 2 * 4 / 256
    assert (
        "--num_iter: the run was planned for 5 steps and now has 10; the learning rate of its cosine schedule at step "
        "5 is 0.015625"
    ) in extended.error
    assert steps_in(tmp_path / "run") == [5, 10]
    again = train(data_dir, tmp_path / "run", "--num_iter=2", *flags)
    assert again.status == 0
    assert "step 10 of 10: nothing left to train" in again.error
    assert "planned for" not in again.error


def trainer(data, results, *more, save=True):
    """A trainer of the tiny network that has not started yet."""
    command = parse([*network(data, results, "train"), "--batch_size=4", "--num_iter=1", "--seed=3", *more], {})
    with tiny_networks():
        setup = set_up(command.config, ALONE)
        plan = plan_training(setup.config, setup.task.data.num_examples("train"), 1)
        return Trainer(setup, plan, ALONE, never_stopping(), CheckpointDir(results, 5) if save else None)


def begin(*arguments):
    """The initial variables of a trainer."""
    with trainer(*arguments) as begun:
        return begun._session.run({v.op.name: v for v in begun.graph.variables})


def test_a_warm_start_takes_all_weights_and_statistics_and_nothing_else(data_dir, tmp_path, trained):
    stored = values(trained / "model.ckpt-5")
    found = begin(data_dir, tmp_path, f"--finetune_checkpoint={trained}")
    weights = {name for name in stored if not name.endswith("Momentum") and name != "global_step"}
    assert sum("moving_" in name for name in weights) == 2 * sum("gamma" in name for name in weights) > 0
    for name in weights:
        np.testing.assert_array_equal(found[name], stored[name])
    assert found["global_step"] == 0
    assert not any(value.any() for name, value in found.items() if name.endswith("Momentum"))
    assert stored["resnet50/conv2d/BatchNorm/moving_mean"].any()


@pytest.mark.slow
def test_a_run_that_was_begun_is_continued_whatever_it_was_warm_started_from(data_dir, tmp_path, trained):
    shutil.copytree(trained, tmp_path / "run")
    found = begin(data_dir, tmp_path / "run", f"--finetune_checkpoint={trained}")
    for name, value in values(trained / "model.ckpt-5").items():
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.slow
def test_a_warm_start_from_another_network_is_a_sentence(data_dir, tmp_path, trained):
    start = (f"--finetune_checkpoint={trained / 'model.ckpt-5'}", "--arch=se-resnext101-32x4d")
    with pytest.raises(RunError, match=r"none of the network's variables; it holds variables of .*resnet50 "):
        begin(data_dir, tmp_path, *start)


@pytest.mark.slow
def test_a_warm_start_from_nothing_is_a_sentence(data_dir, tmp_path):
    with pytest.raises(RunError, match=r"--finetune_checkpoint .*/none: no such file or folder"):
        begin(data_dir, tmp_path / "run", f"--finetune_checkpoint={tmp_path / 'none'}")


def copy_without_metadata(trained, folder):
    """A checkpoint like that of another program."""
    shutil.copytree(trained, folder)
    for path in folder.rglob("*.json"):
        path.unlink()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--num_classes=4",), "--num_classes 4: the checkpoint has 3 classes"),
        (("--arch=se-resnext101-32x4d",), "--arch se-resnext101-32x4d: the checkpoint holds resnet50"),
    ],
)
def test_continuing_another_network_is_a_sentence(data_dir, tmp_path, trained, flags, sentence):
    with pytest.raises(UsageError, match=sentence):
        begin(data_dir, copy_without_metadata(trained, tmp_path / "run"), *flags)


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_not_saved(data_dir, tmp_path):
    with trainer(data_dir, tmp_path) as begun:
        (bias,) = (v for v in begun.graph.variables if v.op.name == "resnet50/output/dense/bias")
        with begun.graph.graph.as_default():
            bias.load([0.0, np.inf, 0.0], begun._session)
        with pytest.raises(RunError, match=r"step 3: the values of resnet50/output/dense/bias are not finite;"):
            begun.save(3)
    assert steps_in(tmp_path) == []


@pytest.mark.slow
def test_a_step_is_saved_once(data_dir, tmp_path):
    with trainer(data_dir, tmp_path) as begun, mock.patch.object(CheckpointDir, "save", autospec=True) as write:
        for step in (3, 3, 4):
            begun.save(step)
    assert [call.args[3] for call in write.call_args_list] == [3, 4]


@pytest.mark.slow
def test_a_run_that_saves_nothing_cannot_save(data_dir, tmp_path):
    with trainer(data_dir, tmp_path, save=False) as begun, pytest.raises(ValueError, match="no folder for"):
        begun.save(1)


def test_a_checkpoint_says_what_made_it(data_dir, trained):
    metadata = read_metadata(trained / "model.ckpt-5")
    assert metadata["preprocessing"]["mean_rgb"] == [123.68, 116.28, 103.53]
    expected = {
        "task": "classification",
        "architecture": "resnet50",
        "num_classes": 3,
        "class_names": ["circle", "line", "square"],
        "label_offset": 1,
        "image_size": 16,
        "step": 5,
        "total_steps": 5,
        "steps_per_epoch": 5,
        "global_batch": 4,
        "seed": 3,
        "position": {"epoch": 1, "example": 0},
    }
    assert {key: metadata[key] for key in expected} == expected
    assert metadata["best"]["step"] == 5
    assert metadata["evaluation"]["images"] == 10
