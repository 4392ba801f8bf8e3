"""Evaluation and benchmarks: their measurements and results."""

import signal
from unittest import mock

import pytest

from runtime.classification.evaluation import ClassificationEvaluator
from tests.runtime.runs import network, run, send
from utils.weights.checkpoint_files import read_metadata


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
    assert " - () " in lines[-2]  # scripts parse the line before the last


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
    assert result.summary["images"] == 10 + 10 + 8  # three batches per pass
    assert "top1_accuracy" in result.summary


def test_a_benchmark_in_epochs_with_nothing_left_to_measure_is_refused(data_dir, tmp_path):
    flags = ("--batch_size=4", "--num_iter=1", "--warmup_steps=5")
    for mode, steps in (("training_benchmark", 5), ("inference_benchmark", 3)):
        result = run(*network(data_dir, tmp_path, mode), *flags)
        assert result.status == 2
        assert f"--num_iter gives {steps} steps: must be above --warmup_steps 5" in result.error
