"""Each mode ends as the README says, and leaves behind what it says: in this process and through main.py."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tests.conftest import ROOT
from tests.runtime.runs import assert_same_checkpoint, network, picture, run, train, write_data
from utils.dllogger_utils import METRICS

LATENCIES = ("avg", "p50", "p90", "p95", "p99")
QUALITY = {"top1_accuracy", "top5_accuracy", "loss", "images"}
EVAL_SPEED = {"eval_throughput", "input_wait_share", *(f"eval_latency_{kind}" for kind in LATENCIES)}
TRAIN_SPEED = {"train_throughput", "input_wait_share", *(f"train_latency_{kind}" for kind in LATENCIES)}
NETWORK_SPEED = {"network_throughput", *(f"network_latency_{kind}" for kind in LATENCIES)}
SUMMARIES = {
    "train": {"precision"} | TRAIN_SPEED,
    "train_and_evaluate": {"precision"} | TRAIN_SPEED | EVAL_SPEED | QUALITY,
    "evaluate": {"precision", "weights"} | EVAL_SPEED | QUALITY,
    "training_benchmark": {"precision"} | TRAIN_SPEED | NETWORK_SPEED,
    "inference_benchmark": {"precision", "weights"} | EVAL_SPEED | QUALITY,
}
CHECKPOINT = {f"model.ckpt-5.{suffix}" for suffix in ("data-00000-of-00001", "index", "json")} | {"checkpoint"}
MEASURED = ("--num_iter=6", "--iter_unit=batch", "--warmup_steps=2", "--display_every=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Holds ``data``, and the results of each mode under its name."""
    folder = tmp_path_factory.mktemp("modes")
    write_data(folder / "data")
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """One launch of each mode that has a summary."""
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


def test_the_console_shows_the_summary_with_its_units(runs):
    line = runs["evaluate"].output.splitlines()[-2]
    assert re.match(r"DLL \d{4}-\d\d-\d\d [\d:.]+ - \(\) ", line)
    assert re.search(r" top1_accuracy : [\d.]+ None ", line)
    assert re.search(r" eval_throughput : [\d.]+ images/s ", line)
    assert re.search(r" eval_latency_p99 : [\d.]+ ms ", line)


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
    events = min((results / "eval").iterdir())  # the later one is of the mode that evaluates only
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
    assert files_in(folder / mode) == {"log.json"}


@pytest.mark.parametrize("mode", ["training_benchmark", "inference_benchmark"])
def test_a_benchmark_logs_its_speed_after_the_warm_up(runs, mode):
    records = [record for record in runs[mode].logged if "total_ips" in record["data"]]
    assert [record["step"] for record in records] == [[0, 4], [0, 6]]
    assert all(record["data"]["total_ips"] > 0 for record in records)


def test_the_evaluation_after_training_and_a_later_one_agree(runs):
    for key in QUALITY:
        assert runs["evaluate"].summary[key] == pytest.approx(runs["train_and_evaluate"].summary[key], rel=1e-6)


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


def main_py(*arguments: str | Path) -> subprocess.CompletedProcess:
    """main.py in a process of its own."""
    command = [sys.executable, "main.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_help_answers_within_a_second_without_tensorflow():
    before = os.times()
    command = [sys.executable, "-X", "importtime", "main.py", "--help"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    after = os.times()
    assert answer.returncode == 0
    assert "--early_stop_patience" in answer.stdout
    imported = {line.split("|")[-1].strip() for line in answer.stderr.splitlines()}
    assert "utils.cmdline_helper" in imported
    assert not imported & {"tensorflow", "numpy", "PIL", "runtime.launch"}
    assert (after.children_user + after.children_system) - (before.children_user + before.children_system) < 1


def real(folder, results, mode, *more) -> tuple[str, ...]:
    """Flags of a run of the whole resnet50 on small images."""
    return (
        "--arch=resnet50", f"--mode={mode}", f"--data_dir={folder / 'data'}", f"--results_dir={results}",
        "--image_size=32", "--batch_size=4", "--iter_unit=batch", "--display_every=1", *more,
    )  # fmt: skip


def training(folder, results) -> tuple[str, ...]:
    return real(folder, results, "train", "--num_iter=8", "--seed=3", "--deterministic", "--lr_warmup_epochs=1")


@pytest.fixture(scope="module")
def really_trained(folder) -> Path:
    done = main_py(*training(folder, folder / "real"))
    assert done.returncode == 0, done.stderr
    return folder / "real"


@pytest.mark.slow
def test_sigterm_saves_and_ends_with_status_75_and_the_same_command_ends_with_the_same_weights(
    folder, really_trained, tmp_path
):
    command = [sys.executable, "main.py", *training(folder, tmp_path)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        next(line for line in process.stdout if " - (0, 2) " in line)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=600)
    assert process.returncode == 75, error
    assert "stopped by SIGTERM: rerun the same command to continue" in error
    stopped = int(tf.train.latest_checkpoint(str(tmp_path)).rpartition("-")[2])
    assert 2 <= stopped < 8
    resumed = main_py(*training(folder, tmp_path))
    assert resumed.returncode == 0, resumed.stderr
    assert_same_checkpoint(tmp_path / "model.ckpt-8", really_trained / "model.ckpt-8")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["evaluate", "inference_benchmark"])
def test_the_last_line_but_one_of_an_evaluation_is_its_summary(folder, really_trained, tmp_path, mode):
    more = ("--warmup_steps=1",) if mode == "inference_benchmark" else ()
    done = main_py(*real(folder, tmp_path, mode, "--num_iter=2", f"--model_dir={really_trained}", *more))
    assert done.returncode == 0, done.stderr
    *_, summary, last = done.stdout.splitlines()
    assert last == "Evaluation finished."
    assert re.match(r"DLL .* - \(\) .*top1_accuracy : .*eval_throughput : ", summary)


@pytest.mark.slow
def test_the_last_line_of_a_benchmark_of_training_is_its_summary(folder, tmp_path):
    done = main_py(*real(folder, tmp_path, "training_benchmark", "--num_iter=3", "--warmup_steps=1"))
    assert done.returncode == 0, done.stderr
    assert re.match(r"DLL .* - \(\) .*train_throughput : ", done.stdout.splitlines()[-1])
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_process_trains_and_evaluates_and_another_names_images_with_its_best_weights(folder, tmp_path):
    flags = real(folder, tmp_path / "run", "train_and_evaluate", "--num_iter=3", "--seed=3", "--lr_warmup_epochs=0")
    done = main_py(*flags)
    assert done.returncode == 0, done.stderr
    assert re.match(r"DLL .* - \(\) .*top1_accuracy : .*train_throughput : ", done.stdout.splitlines()[-1])
    assert "Traceback" not in done.stderr
    (tmp_path / "images").mkdir()
    for number in range(2):
        (tmp_path / "images" / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "images" / "broken.jpg").write_bytes(b"no image")
    weights, images = f"--model_dir={tmp_path / 'run' / 'best'}", f"--to_predict={tmp_path / 'images'}"
    named = main_py("--arch=resnet50", "--mode=predict", weights, images, f"--results_dir={tmp_path}")
    assert named.returncode == 3, named.stderr
    rows = json.loads((tmp_path / "predictions.json").read_text())
    assert [(Path(row["file"]).name, "error" in row) for row in rows] == [
        ("0.png", False),
        ("1.png", False),
        ("broken.jpg", True),
    ]
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 4
    assert "broken.jpg  not read: " in named.stdout


def tiny_main(*arguments: str | Path) -> list[str]:
    """The command for tiny networks in a process, which --deterministic needs."""
    return [sys.executable, "-m", "tests.runtime.tiny_main", *map(str, arguments)]


def killed_at(line, command) -> int:
    """Runs a command until it prints certain words, kills it, and returns its status."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        next(text for text in process.stdout if line in text)
        process.kill()
        return process.wait(600)


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_from_its_last_checkpoint_bit_for_bit(folder, tmp_path):
    more = ("--num_iter=12", "--checkpoint_every=1", "--seed=3", "--deterministic", "--mixup=0.2")
    whole = real(folder, tmp_path / "whole", "train", *more, "--lr_warmup_epochs=0")
    killed = real(folder, tmp_path / "killed", "train", *more, "--lr_warmup_epochs=0")
    subprocess.run(tiny_main(*whole), cwd=ROOT, check=True, capture_output=True, timeout=600)
    assert killed_at(" - (0, 3) ", tiny_main(*killed)) == -signal.SIGKILL
    assert killed_at(" - (1, 8) ", tiny_main(*killed)) == -signal.SIGKILL
    subprocess.run(tiny_main(*killed), cwd=ROOT, check=True, capture_output=True, timeout=600)
    assert not list((tmp_path / "killed").glob(".*"))
    for step in range(8, 13):
        assert_same_checkpoint(tmp_path / "killed" / f"model.ckpt-{step}", tmp_path / "whole" / f"model.ckpt-{step}")
