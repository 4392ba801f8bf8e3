"""Training with evaluation: the times of evaluations, the best weights, and early stopping."""

import contextlib
import shutil
import signal
from unittest import mock

import pytest

from runtime.classification.evaluation import ClassificationEvaluator
from runtime.evaluation import Evaluation
from tests.runtime.runs import assert_same_checkpoint, at_step, network, run, send, train
from utils.checkpoints import CheckpointDir
from utils.weights.checkpoint_files import read_metadata, steps_in


def fit(data, results, *more):
    """A launch that trains and evaluates."""
    return train(data, results, *more, mode="train_and_evaluate")


@contextlib.contextmanager
def accuracies(*values):
    """Replaces the accuracies of evaluations by these, in turn."""
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


@pytest.mark.slow
def test_each_evaluation_is_that_of_its_checkpoint(data_dir, tmp_path):
    trained = fit(data_dir, tmp_path / "run", "--num_iter=2", "--eval_every_epochs=1", "--lr_init=2")
    logged = {
        entry["step"][1]: entry["data"]["loss"] for entry in trained.logged if "loss" in entry["data"] and entry["step"]
    }
    assert logged.keys() == {5, 10}
    assert logged[5] != pytest.approx(logged[10], rel=1e-3)
    for step, loss in logged.items():
        alone = network(data_dir, tmp_path / "alone", "evaluate")
        found = run(*alone, "--batch_size=4", f"--model_dir={tmp_path / 'run' / f'model.ckpt-{step}'}")
        assert found.summary["loss"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.slow
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


@pytest.mark.slow
def test_training_stops_when_patience_is_at_its_end_also_over_several_launches(data_dir, tmp_path):
    flags = ("--num_iter=9", "--eval_every_epochs=1", "--early_stop_patience=2")
    with accuracies(0.5, 0.6, 0.6, 0.1):
        first = fit(data_dir, tmp_path, *flags, "--run_iter=3")
        assert evaluations(first) == [(5, 0.5), (10, 0.6), (15, 0.6)]
        second = fit(data_dir, tmp_path, *flags)  # the second one in a row without improvement
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
