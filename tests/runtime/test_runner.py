"""The six modes: what each does, in which order, and what it leaves behind."""

import contextlib
import errno
import json
import math
import shutil
import signal
from unittest import mock

import numpy as np
import pytest

from runtime.classification import ClassificationEvaluator
from runtime.evaluation import Evaluation
from tests.runtime.runs import assert_same_checkpoint, at_step, network, run, send, train, values
from utils import checkpoints
from utils.checkpoints import CheckpointDir, read_metadata, steps_in
from utils.file_lock import locked

EPOCH = 5  # steps of the tiny data set in batches of 4


def fit(data, results, *more):
    """A launch that trains and evaluates."""
    return train(data, results, *more, mode="train_and_evaluate")


@contextlib.contextmanager
def accuracies(*values):
    """Gives evaluations these accuracies in turn, in place of their own."""
    left = iter(values)
    genuine = ClassificationEvaluator.result

    def result(self):
        return genuine(self) | {"top1_accuracy": next(left)}

    with mock.patch.object(ClassificationEvaluator, "result", result):
        yield


def evaluations(launch):
    """(step, accuracy) of each evaluation that was logged while training."""
    return [
        (entry["step"][1], entry["data"]["top1_accuracy"])
        for entry in launch.logged
        if len(entry["step"]) == 2 and "top1_accuracy" in entry["data"]
    ]


# Training


def test_a_run_leaves_its_last_checkpoints_its_log_and_its_curves(data_dir, tmp_path):
    flags = ("--num_iter=2", "--checkpoint_every=3", "--keep_checkpoints=3", "--display_every=4")
    result = train(data_dir, tmp_path, *flags)
    assert result.status == 0, result.error
    assert steps_in(tmp_path) == [3, 6, 9, 10][-3:]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    assert not list(tmp_path.glob(".*"))
    assert [tuple(entry["step"]) for entry in result.logged] == [(0, 4), (0,), (1, 8), (1,), ()]
    assert set(result.logged[0]["data"]) == {
        *("imgs_per_sec", "input_wait_share", "cross_entropy", "l2_loss", "total_loss", "learning_rate")
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
    with mock.patch("runtime.plan.TrainingPlan.last_step", lambda self, config, start: start + 2):
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
    assert "earlier checkpoints are whole" in sentence
    assert steps_in(tmp_path) == [*range(1, step)] != []
    for saved in steps_in(tmp_path):
        assert all(np.isfinite(value).all() for value in values(tmp_path / f"model.ckpt-{saved}").values())


@pytest.mark.slow
def test_a_scalar_that_is_no_number_is_named(data_dir, tmp_path):
    def poison(task, endpoints, targets, mask):
        return {"cross_entropy": 0.0 * endpoints["logits"][0, 0] + math.nan}

    with mock.patch("runtime.classification.Classification.losses", poison):
        result = train(data_dir, tmp_path, "--num_iter=1", "--checkpoint_every=1")
    assert result.status == 1
    assert "CRITICAL: step 1: cross_entropy is nan; stopped before the weights are saved" in result.error
    assert steps_in(tmp_path) == []


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
    assert f"CRITICAL: step 3: the checkpoint could not be written to {tmp_path} (--model_dir)" in result.error
    assert steps_in(tmp_path) == [1, 2]
    monkeypatch.undo()
    again = train(data_dir, tmp_path, *flags)  # goes on where it was
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


# Training with evaluation


def test_each_nth_epoch_and_the_end_are_evaluated_and_the_best_is_kept(data_dir, tmp_path):
    with accuracies(0.2, 0.6, 0.4):
        result = fit(data_dir, tmp_path, "--num_iter=5", "--eval_every_epochs=2", "--keep_checkpoints=1")
    assert result.status == 0, result.error
    assert evaluations(result) == [(10, 0.2), (20, 0.6), (25, 0.4)]
    assert [entry["step"] for entry in result.logged if "top1_accuracy" in entry["data"]] == [
        [2, 10],
        [4, 20],
        [5, 25],
        [],
    ]
    assert result.summary["top1_accuracy"] == 0.4
    assert result.summary["images"] == 10
    assert {"train_throughput", "eval_throughput", "eval_latency_p50"} <= set(result.summary)
    assert steps_in(tmp_path) == [25]
    assert steps_in(tmp_path / "best") == [20]
    assert read_metadata(tmp_path / "best" / "model.ckpt-20")["best"] == {
        "step": 20,
        "value": 0.6,
        "evaluations_since": 0,
    }
    assert read_metadata(tmp_path / "model.ckpt-25")["best"]["evaluations_since"] == 1
    assert list((tmp_path / "eval").glob("events.out.tfevents.*"))


@pytest.mark.slow
def test_without_a_period_only_the_end_is_evaluated(data_dir, tmp_path):
    with accuracies(0.3):
        result = fit(data_dir, tmp_path, "--num_iter=2", "--checkpoint_every=4")
    assert evaluations(result) == [(10, 0.3)]
    assert steps_in(tmp_path / "best") == [10]


@pytest.mark.slow
def test_a_finished_run_is_evaluated_again_and_changes_nothing(data_dir, tmp_path, trained):
    shutil.copytree(trained, tmp_path / "run")
    again = fit(data_dir, tmp_path / "run", "--num_iter=1", "--lr_init=2")
    assert again.status == 0
    assert "step 5 of 5: nothing left to train" in again.error
    (first,) = evaluations(again)
    assert first == (5, read_metadata(trained / "model.ckpt-5")["best"]["value"])
    assert_same_checkpoint(tmp_path / "run" / "model.ckpt-5", trained / "model.ckpt-5")
    assert read_metadata(tmp_path / "run" / "model.ckpt-5") == read_metadata(trained / "model.ckpt-5")


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


@pytest.mark.slow
def test_training_stops_when_patience_is_at_its_end_also_over_several_launches(data_dir, tmp_path):
    flags = ("--num_iter=9", "--eval_every_epochs=1", "--early_stop_patience=2")
    with accuracies(0.5, 0.6, 0.6, 0.1):
        first = fit(data_dir, tmp_path, *flags, "--run_iter=3")
        assert evaluations(first) == [(5, 0.5), (10, 0.6), (15, 0.6)]
        second = fit(data_dir, tmp_path, *flags)  # the second one in a row that is no better
        assert evaluations(second) == [(20, 0.1)]
    assert "step 20: stopped early, 2 evaluations were no better" in second.error
    assert second.status == 0
    assert steps_in(tmp_path / "best") == [10]
    with accuracies(0.1):
        third = fit(data_dir, tmp_path, *flags)
    assert "step 20: training was stopped early" in third.error
    assert steps_in(tmp_path)[-1] == 20
    with accuracies(0.7, 0.2):
        fourth = fit(data_dir, tmp_path, "--num_iter=6", "--eval_every_epochs=1", "--early_stop_patience=3")
    assert evaluations(fourth) == [(25, 0.7), (30, 0.2)]
    assert steps_in(tmp_path / "best") == [25]


@pytest.mark.slow
def test_a_signal_in_training_leaves_the_evaluation_to_the_next_launch(data_dir, tmp_path):
    flags = ("--num_iter=2", "--eval_every_epochs=1")
    with at_step(5, send(signal.SIGTERM)):
        first = fit(data_dir, tmp_path, *flags)
    assert first.status == 75
    assert evaluations(first) == []
    assert "stopped by SIGTERM: rerun the same command to continue" in first.error
    assert steps_in(tmp_path) == [5]
    second = fit(data_dir, tmp_path, *flags)
    assert second.status == 0
    assert [step for step, _ in evaluations(second)] == [5, 10]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["load", "run"])
def test_a_signal_in_an_evaluation_has_it_done_again(data_dir, tmp_path, moment):
    genuine = getattr(Evaluation, moment)

    def interrupted(self, *arguments, **options):
        send(signal.SIGUSR1)()
        return genuine(self, *arguments, **options)

    with mock.patch.object(Evaluation, moment, interrupted):
        first = fit(data_dir, tmp_path, "--num_iter=1")
    assert first.status == 75, first.error
    assert evaluations(first) == []
    assert not (tmp_path / "best").exists()
    second = fit(data_dir, tmp_path, "--num_iter=1")
    assert second.status == 0
    assert [step for step, _ in evaluations(second)] == [5]
    assert steps_in(tmp_path / "best") == [5]


@pytest.mark.slow
def test_a_kill_before_the_best_is_noted_loses_neither(data_dir, tmp_path):
    class Killed(BaseException):
        pass

    with mock.patch.object(CheckpointDir, "annotate", side_effect=Killed), pytest.raises(Killed):
        fit(data_dir, tmp_path, "--num_iter=1")
    again = fit(data_dir, tmp_path, "--num_iter=1")
    assert again.status == 0
    assert steps_in(tmp_path / "best") == [5]
    assert read_metadata(tmp_path / "best" / "model.ckpt-5")["best"]["step"] == 5


# Evaluation and benchmarks


def test_evaluation_without_weights_is_an_error(data_dir, tmp_path):
    result = run(*network(data_dir, tmp_path, "evaluate"), "--batch_size=4")
    assert result.status == 1
    assert f"--results_dir {tmp_path}: holds no checkpoint; --mode evaluate needs trained weights" in result.error


def test_evaluation_logs_its_speed_and_ends_with_its_result(data_dir, tmp_path, trained):
    flags = (f"--model_dir={trained / 'best'}", "--batch_size=2", "--warmup_steps=2", "--display_every=2")
    result = run(*network(data_dir, tmp_path, "evaluate"), *flags)
    assert result.status == 0
    assert [entry["step"] for entry in result.logged] == [[0, 2], [0, 4], []]
    assert set(result.logged[0]["data"]) == {"total_ips", "input_wait_share"}
    assert result.summary["weights"] == str(trained / "best" / "model.ckpt-5")
    assert result.summary["top1_accuracy"] == read_metadata(trained / "model.ckpt-5")["best"]["value"]
    assert {"top5_accuracy", "images", "loss", "precision", "eval_throughput"} <= set(result.summary)
    lines = result.output.splitlines()
    assert lines[-1] == "Evaluation finished."
    assert " - () " in lines[-2]  # scripts take the line before the last


def test_a_signal_ends_an_evaluation_without_a_result(data_dir, tmp_path, trained):
    genuine = ClassificationEvaluator.update

    def update(self, arrays):
        send(signal.SIGTERM)()
        genuine(self, arrays)

    with mock.patch.object(ClassificationEvaluator, "update", update):
        result = run(*network(data_dir, tmp_path, "evaluate"), f"--model_dir={trained}", "--batch_size=2")
    assert result.status == 75
    assert result.logged == []


BENCHMARK = ("--batch_size=4", "--num_iter=8", "--iter_unit=batch", "--warmup_steps=2", "--display_every=3")


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_benchmark_of_training_measures_and_saves_nothing(data_dir, tmp_path, synthetic):
    data = () if synthetic else (f"--data_dir={data_dir}",)
    flags = ("--arch=resnet50", "--mode=training_benchmark", f"--results_dir={tmp_path}", "--image_size=16", *data)
    result = run(*flags, *BENCHMARK)
    assert result.status == 0, result.error
    assert [entry["step"] for entry in result.logged] == [[0, 3], [0, 6], []]
    assert set(result.logged[0]["data"]) == {"total_ips", "input_wait_share"}
    assert set(result.summary) == {
        *("precision", "train_throughput", "input_wait_share"),
        *(f"train_latency_{name}" for name in ("avg", "p50", "p90", "p95", "p99")),
        *(f"network_latency_{name}" for name in ("avg", "p50", "p90", "p95", "p99")),
        "network_throughput",
    }
    assert result.summary["network_latency_avg"] <= result.summary["train_latency_avg"]
    assert [path.name for path in tmp_path.iterdir()] == ["log.json"]


def test_a_benchmark_of_inference_may_use_random_weights_and_says_so(tmp_path):
    flags = ("--arch=resnet50", "--mode=inference_benchmark", f"--results_dir={tmp_path}", "--image_size=16")
    result = run(*flags, *BENCHMARK)
    assert result.status == 0, result.error
    assert f"no checkpoint in {tmp_path}: measuring with random weights" in result.error
    assert result.summary["weights"] == "random"
    assert "top1_accuracy" not in result.summary
    assert "loss" not in result.summary
    assert result.summary["eval_throughput"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["log.json"]


@pytest.mark.slow
def test_a_benchmark_of_inference_measures_a_checkpoint_on_data_again_and_again(data_dir, tmp_path, trained):
    result = run(*network(data_dir, tmp_path, "inference_benchmark"), f"--model_dir={trained}", *BENCHMARK)
    assert result.status == 0, result.error
    assert result.summary["weights"] == str(trained / "model.ckpt-5")
    assert result.summary["images"] == 10 + 10 + 8  # three batches a pass
    assert "top1_accuracy" in result.summary


def test_a_benchmark_in_epochs_with_nothing_left_to_measure_is_refused(data_dir, tmp_path):
    flags = ("--batch_size=4", "--num_iter=1", "--warmup_steps=5")
    for mode, steps in (("training_benchmark", 5), ("inference_benchmark", 3)):
        result = run(*network(data_dir, tmp_path, mode), *flags)
        assert result.status == 2
        assert f"--num_iter gives {steps} steps: must be above --warmup_steps 5" in result.error
