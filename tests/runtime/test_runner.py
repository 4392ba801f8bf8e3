"""Training: its actions, their order, and its results."""

import errno
import json
import math
from unittest import mock

import numpy as np
import pytest

from tests.runtime.runs import train, values
from utils import checkpoints
from utils.files.file_lock import locked
from utils.weights.checkpoint_files import steps_in

EPOCH = 5  # steps of the tiny data set in batches of 4


def test_a_run_leaves_its_last_checkpoints_its_log_and_its_curves(data_dir, tmp_path):
    flags = ("--num_iter=2", "--checkpoint_every=3", "--keep_checkpoints=3", "--display_every=4")
    result = train(data_dir, tmp_path, *flags)
    assert result.status == 0, result.error
    assert steps_in(tmp_path) == [3, 6, 9, 10][-3:]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    assert not list(tmp_path.glob(".*"))
    assert [tuple(entry["step"]) for entry in result.logged] == [(0, 4), (0,), (1, 8), (1,), ()]
    assert set(result.logged[0]["data"]) == {
        *("imgs_per_sec", "input_wait_share", "cross_entropy", "l2_loss", "total_loss", "learning_rate"),
        *("initial_cross_entropy", "ln_num_classes"),
    }
    assert set(result.logged[1]["data"]) == {"cross_entropy", "l2_loss", "total_loss", "learning_rate"}


@pytest.mark.slow
def test_a_log_begins_with_units_and_parameters_and_ends_with_the_summary_and_grows(data_dir, tmp_path):
    first = train(data_dir, tmp_path, "--num_iter=3", "--run_iter=1")
    second = train(data_dir, tmp_path, "--num_iter=3", "--run_iter=1")
    for launch in (first, second):
        kinds = [entry["type"] for entry in launch.log]
        units = kinds.count("METADATA")
        assert kinds == ["METADATA"] * units + ["LOG"] * (len(kinds) - units)
        assert launch.log[units]["step"] == "PARAMETER"
        assert [entry["step"] for entry in launch.logged].count([]) == 1
        assert {"train_throughput", "train_latency_p99", "input_wait_share", "precision"} <= set(launch.summary)
    lines = (tmp_path / "log.json").read_text().splitlines()
    assert len(lines) == len(first.log) + len(second.log)
    assert all(line.startswith("DLLL {") and json.loads(line[5:]) for line in lines)


@pytest.mark.slow
def test_a_launch_with_few_steps_left_still_measures_them(data_dir, tmp_path):
    train(data_dir, tmp_path, "--num_iter=500", "--iter_unit=batch", "--run_iter=1")
    with mock.patch("runtime.planning.plan.TrainingPlan.last_step", lambda self, config, start: start + 2):
        short = train(data_dir, tmp_path, "--num_iter=500", "--iter_unit=batch")
    assert short.summary["train_throughput"] > 0  # a tenth of 500 would be 50 steps of warm-up


def test_a_batch_larger_than_the_data_is_refused(data_dir, tmp_path):
    result = train(data_dir, tmp_path, "--batch_size=21")
    assert result.status == 2
    assert f"--batch_size 21: the global batch of 21 is larger than the 20 training examples in {data_dir}" in (
        result.error
    )


def test_a_loss_that_is_no_number_ends_the_run_and_is_not_saved(data_dir, tmp_path):
    result = train(
        data_dir, tmp_path, "--num_iter=4", "--checkpoint_every=1", "--keep_checkpoints=99", "--lr_init=1e25"
    )
    assert result.status == 1
    (sentence,) = [line for line in result.error.splitlines() if line.startswith("CRITICAL")]
    step = int(sentence.split("step ")[1].split(":")[0])
    assert f"step {step}: " in sentence
    assert "earlier checkpoints are intact" in sentence
    assert steps_in(tmp_path) == [*range(1, step)] != []
    for saved in steps_in(tmp_path):
        assert all(np.isfinite(value).all() for value in values(tmp_path / f"model.ckpt-{saved}").values())


@pytest.mark.slow
def test_a_scalar_that_is_no_number_is_named(data_dir, tmp_path):
    def poison(task, endpoints, targets, mask):
        return {"cross_entropy": 0.0 * endpoints["logits"][0, 0] + math.nan}

    with mock.patch("runtime.classification.task.ClassificationTraining.losses", poison):
        result = train(data_dir, tmp_path, "--num_iter=1", "--checkpoint_every=1")
    assert result.status == 1
    assert "CRITICAL: step 1: cross_entropy is nan; stopped before the weights are saved" in result.error
    assert steps_in(tmp_path) == []


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run_with_the_earlier_checkpoints_whole(data_dir, tmp_path, monkeypatch):
    genuine = checkpoints.flush_to_disk

    def flush(path):
        if "model.ckpt-3" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        genuine(path)

    monkeypatch.setattr(checkpoints, "flush_to_disk", flush)
    flags = ("--num_iter=1", "--checkpoint_every=1", "--display_every=1")
    result = train(data_dir, tmp_path, *flags)
    assert result.status == 1
    place = f"{tmp_path} (--model_dir or --results_dir)"
    assert f"CRITICAL: step 3: the checkpoint could not be written to {place}" in result.error
    assert steps_in(tmp_path) == [1, 2]
    monkeypatch.undo()
    again = train(data_dir, tmp_path, *flags)  # continues where it was
    assert again.status == 0
    assert [step for step, _ in again.losses] == [3, 4, 5]


def test_results_that_cannot_be_written_are_refused(data_dir, tmp_path):
    (tmp_path / "file").touch()
    result = train(data_dir, tmp_path / "file" / "run")
    assert result.status == 2
    assert f"--results_dir {tmp_path}/file/run: cannot be written to: Not a directory" in result.error
    result = train(data_dir, tmp_path / "run", f"--model_dir={tmp_path}/file/run")
    assert result.status == 2
    assert f"{tmp_path}/file/run: cannot be written to: Not a directory" in result.error


@pytest.mark.slow
def test_checkpoints_and_results_may_lie_apart(data_dir, tmp_path):
    result = train(data_dir, tmp_path / "results", f"--model_dir={tmp_path / 'model'}", "--num_iter=1")
    assert result.status == 0
    assert steps_in(tmp_path / "model") == [EPOCH]
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["log.json"]


def test_a_folder_that_another_launch_trains_in_is_left_alone(data_dir, tmp_path):
    with locked(tmp_path, "not held by anyone"):
        refused = train(data_dir, tmp_path, "--num_iter=1")
    assert refused.status == 1
    assert f"--results_dir {tmp_path}: another launch is training in it; wait for it to end" in refused.error
    assert steps_in(tmp_path) == []
    assert train(data_dir, tmp_path, "--num_iter=1").status == 0


@pytest.mark.parametrize(("epochs", "warned"), [("1", True), ("0.8", False)])
def test_a_warm_up_that_outlasts_the_run_is_said(data_dir, tmp_path, epochs, warned):
    result = train(data_dir, tmp_path, "--num_iter=1", f"--lr_warmup_epochs={epochs}")
    assert result.status == 0
    assert ("the warm-up of 5 steps is not over when the run ends at step 5" in result.error) == warned


def test_a_new_network_begins_at_the_loss_of_chance_and_its_log_says_so_once(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.hooks.beginning.FAR", 0.1)  # so that every new head is far off
    flags = ("--iter_unit=batch", "--num_iter=2", "--display_every=1")
    new = train(data_dir, tmp_path / "new", *flags)
    first, second = (record["data"] for record in new.logged[:2])
    assert first["ln_num_classes"] == pytest.approx(math.log(3))
    assert first["initial_cross_entropy"] == first["cross_entropy"] == pytest.approx(math.log(3))
    assert not {"initial_cross_entropy", "ln_num_classes"} & set(second)
    assert "WARNING: the new network begins with a loss of 1.099" in new.error
    longer = train(data_dir, tmp_path / "new", *flags[:1], "--num_iter=3", "--display_every=1")
    assert "initial_cross_entropy" not in longer.logged[0]["data"]
    warm = f"--finetune_checkpoint={tmp_path / 'new'}"
    loaded = train(data_dir, tmp_path / "loaded", *flags, warm)
    assert loaded.logged[0]["data"]["initial_cross_entropy"] != pytest.approx(math.log(3))
    assert "begins with a loss" not in longer.error + loaded.error
    reset = train(data_dir, tmp_path / "reset", *flags, warm, "--reset_head")
    assert reset.logged[0]["data"]["initial_cross_entropy"] == pytest.approx(math.log(3))
    assert "begins with a loss" in reset.error
