"""Each mode ends as the README says, and leaves the files that it lists."""

import re
from pathlib import Path

import pytest
import tensorflow as tf

from tests.runtime.runs import assert_same_checkpoint, network, run, train, write_data
from utils.dllogger_utils import METRICS

LATENCIES = ("avg", "p50", "p90", "p95", "p99")
QUALITY = {"top1_accuracy", "top5_accuracy", "loss", "images"}
EVAL_SPEED = {"eval_throughput", "input_wait_share", *(f"eval_latency_{kind}" for kind in LATENCIES)}
TRAIN_SPEED = {"train_throughput", "input_wait_share", *(f"train_latency_{kind}" for kind in LATENCIES)}
STATISTICS = {
    *(f"macro_{name}" for name in ("accuracy", "precision", "f1", "roc_auc", "average_precision")),
    "calibration_error",
    "intervals",
}
NETWORK_SPEED = {"network_throughput", *(f"network_latency_{kind}" for kind in LATENCIES)}
SUMMARIES = {
    "train": {"precision"} | TRAIN_SPEED,
    "train_and_evaluate": {"precision"} | TRAIN_SPEED | EVAL_SPEED | QUALITY | STATISTICS,
    "evaluate": {"precision", "weights"} | EVAL_SPEED | QUALITY | STATISTICS,
    "training_benchmark": {"precision"} | TRAIN_SPEED | NETWORK_SPEED,
    "inference_benchmark": {"precision", "weights"} | EVAL_SPEED | QUALITY,
}
CHECKPOINT = {f"model.ckpt-5.{suffix}" for suffix in ("data-00000-of-00001", "index", "json")} | {"checkpoint"}
MEASURED = ("--num_iter=6", "--iter_unit=batch", "--warmup_steps=2", "--display_every=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with ``data``, and the results of each mode under its name."""
    folder = tmp_path_factory.mktemp("modes")
    write_data(folder / "data")
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """One launch of each mode with a summary."""
    data, model = folder / "data", f"--model_dir={folder / 'train_and_evaluate'}"

    def launch(mode, *more):
        return run(*network(data, folder / mode, mode), "--batch_size=4", *more)

    return {
        "train": train(data, folder / "train", "--num_iter=1", "--display_every=2"),
        "train_and_evaluate": train(
            data, folder / "train_and_evaluate", "--num_iter=1", "--lr_init=2", mode="train_and_evaluate"
        ),
        "evaluate": launch("evaluate", model),
        "training_benchmark": launch("training_benchmark", *MEASURED),
        "inference_benchmark": launch("inference_benchmark", *MEASURED, model),
    }


def evaluate(folder, *more):
    results, model = folder / f"evaluate{''.join(more)}", folder / "train_and_evaluate"
    return run(*network(folder / "data", results, "evaluate"), f"--model_dir={model}", *more)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("mode", SUMMARIES)
def test_a_mode_ends_with_status_0_and_a_summary_of_its_own_keys(runs, mode):
    assert runs[mode].status == 0, runs[mode].error
    assert set(runs[mode].summary) == SUMMARIES[mode]


@pytest.mark.parametrize("mode", SUMMARIES)
def test_the_figures_of_a_summary_are_possible(runs, mode):
    summary = runs[mode].summary
    assert summary["precision"] == "float32"
    assert 0 <= summary["input_wait_share"] <= 1
    for kind in ("train", "eval"):
        if f"{kind}_throughput" in summary:
            assert summary[f"{kind}_throughput"] > 0
            p50, p90, p95, p99 = (summary[f"{kind}_latency_{p}"] for p in LATENCIES[1:])
            assert 0 < p50 <= p90 <= p95 <= p99


@pytest.mark.parametrize("mode", SUMMARIES)
def test_the_log_holds_the_units_then_the_parameters_then_steps_and_at_last_the_summary(runs, mode):
    log = runs[mode].log
    types = [record["type"] for record in log]
    first = types.index("LOG")
    assert set(types[:first]) == {"METADATA"}
    assert set(types[first:]) == {"LOG"}
    units = {record["metric"]: record["metadata"]["unit"] for record in log[:first]}
    speeds = {f"{kind}_throughput" for kind in ("train", "eval", "network")}
    assert {m for m, unit in units.items() if unit == "images/s"} == speeds
    assert {m for m, unit in units.items() if unit is None} == QUALITY | {"input_wait_share"}
    assert {m for m, unit in units.items() if unit == "ms"} == {
        m for m in EVAL_SPEED | TRAIN_SPEED | NETWORK_SPEED if "latency" in m
    }
    assert log[first]["step"] == "PARAMETER"
    assert log[first]["data"]["mode"] == mode
    assert log[first]["data"]["num_classes"] == 3
    assert [record["step"] for record in log[first:]].count([]) == 1
    assert log[-1]["step"] == []


@pytest.mark.parametrize("mode", SUMMARIES)
def test_each_line_of_the_log_file_is_dllogger_s(runs, folder, mode):
    assert runs[mode].status == 0
    for line in (folder / mode / "log.json").read_text().splitlines():
        assert re.match(
            r'DLLL \{"timestamp": "\d+\.\d+", "datetime": "[-\d]+ [:.\d]+", "elapsedtime": "[\d.e-]+", ', line
        )


@pytest.mark.parametrize("mode", ["evaluate", "inference_benchmark"])
def test_an_evaluation_ends_with_its_summary_with_units_and_the_word_that_it_finished(runs, mode):
    *_, line, last = runs[mode].output.splitlines()
    assert last == "Evaluation finished."
    assert re.match(r"DLL \d{4}-\d\d-\d\d [\d:.]+ - \(\) ", line)
    assert re.search(r" top1_accuracy : [\d.]+ None .* eval_throughput : [\d.]+ images/s ", line)
    assert re.search(r" eval_latency_p99 : [\d.]+ ms ", line)


def test_the_last_line_of_a_benchmark_of_training_is_its_summary(runs):
    line = runs["training_benchmark"].output.splitlines()[-1]
    assert re.match(r"DLL .* - \(\) .*train_throughput : ", line)


def test_training_leaves_checkpoints_a_log_and_events(runs, folder):
    assert runs["train"].status == 0
    events = {name for name in files_in(folder / "train") if name.startswith("events.out.tfevents.")}
    assert len(events) == 1
    assert files_in(folder / "train") == CHECKPOINT | {"log.json"} | events
    assert tf.train.latest_checkpoint(str(folder / "train")) == str(folder / "train" / "model.ckpt-5")


def test_training_and_evaluating_leaves_the_best_checkpoint_and_events_of_the_evaluation_too(runs, folder):
    results = folder / "train_and_evaluate"
    assert files_in(results / "best") == CHECKPOINT
    assert_same_checkpoint(results / "best" / "model.ckpt-5", results / "model.ckpt-5")
    (events,) = (results / "eval").iterdir()
    values = {
        value.tag: value.simple_value
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    }
    assert values["top1_accuracy"] == pytest.approx(runs["train_and_evaluate"].summary["top1_accuracy"])
    assert values["images"] == 10


@pytest.mark.parametrize("mode", ["evaluate", "training_benchmark", "inference_benchmark"])
def test_what_does_not_train_leaves_a_log_and_no_checkpoint(runs, folder, mode):
    assert runs[mode].status == 0
    left = {"eval", "evaluation.json"} if mode == "evaluate" else set()
    assert files_in(folder / mode) == {"log.json"} | left


@pytest.mark.parametrize("mode", ["training_benchmark", "inference_benchmark"])
def test_a_benchmark_logs_its_speed_after_the_warm_up(runs, mode):
    records = [record for record in runs[mode].logged if "total_ips" in record["data"]]
    assert [record["step"] for record in records] == [[0, 4], [0, 6]]
    assert all(record["data"]["total_ips"] > 0 for record in records)


def test_the_evaluation_after_training_and_a_later_one_agree(runs):
    for key in QUALITY:
        assert runs["evaluate"].summary[key] == pytest.approx(runs["train_and_evaluate"].summary[key], rel=1e-6)


@pytest.mark.slow
def test_an_evaluation_counts_every_image_once_whatever_the_batch_size(runs, folder):
    results = [evaluate(folder, f"--batch_size={size}") for size in (1, 7, 64)]
    assert [result.status for result in results] == [0, 0, 0]
    assert [result.summary["images"] for result in results] == [10, 10, 10]
    assert len({result.summary["top1_accuracy"] for result in results}) == 1
    assert results[0].summary["top1_accuracy"] == runs["evaluate"].summary["top1_accuracy"]
    losses = [result.summary["loss"] for result in results]
    assert losses == pytest.approx([runs["evaluate"].summary["loss"]] * 3, rel=1e-5)


def test_an_evaluation_of_so_many_batches_reads_no_more(runs, folder):
    assert evaluate(folder, "--batch_size=3", "--num_iter=2", "--iter_unit=batch").summary["images"] == 6


def test_a_second_launch_appends_to_the_log(runs, folder):
    first = evaluate(folder, "--batch_size=5")
    second = evaluate(folder, "--batch_size=5")
    lines = (folder / "evaluate--batch_size=5" / "log.json").read_text().splitlines()
    assert len(lines) == len(first.log) + len(second.log)
    units = len(METRICS)
    assert [line for line in lines if '"step": "PARAMETER"' in line] == [lines[units], lines[len(first.log) + units]]


@pytest.mark.parametrize("mode", ["training_benchmark", "inference_benchmark"])
def test_a_benchmark_makes_images_of_its_own_without_data(tmp_path, mode):
    measured = run(
        "--arch=resnext101-32x4d", f"--mode={mode}", f"--results_dir={tmp_path}", "--image_size=16",
        "--num_classes=3", "--batch_size=2", *MEASURED,
    )  # fmt: skip
    assert measured.status == 0, measured.error
    assert set(measured.summary) == SUMMARIES[mode] - QUALITY
    if mode == "inference_benchmark":
        assert measured.summary["weights"] == "random"
        assert f"no checkpoint in {tmp_path}: measuring with random weights" in measured.error
    assert files_in(tmp_path) == {"log.json"}
