"""Every image counts once, whatever the batch size."""

import contextlib
import shutil

import numpy as np
import pytest

from runtime.evaluation import Evaluation
from runtime.setup.set_up import set_up
from tests.runtime.runs import network, run, tiny_networks, train, values, write_data
from utils.cmdline_helper import parse
from utils.errors import RunError
from utils.hooks.hook import Hook
from utils.hvd_utils import SerialCommunicator
from utils.weights.checkpoint_files import read_metadata

IMAGES = 23


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("evaluation") / "data", train=8, validation=IMAGES)


@pytest.fixture(scope="module")
def weights(tmp_path_factory, data):
    results = tmp_path_factory.mktemp("evaluation") / "run"
    assert train(data, results, "--num_iter=4", "--lr_init=4", "--seed=1", "--head_init=original").status == 0
    return results


def evaluate(data, weights, results, *more):
    return run(*network(data, results, "evaluate"), f"--model_dir={weights}", *more)


@pytest.mark.slow
def test_each_batch_size_counts_each_image_once_and_agrees(data, weights, tmp_path):
    launches = [evaluate(data, weights, tmp_path, f"--batch_size={size}", "--top_k=2") for size in (1, 7, 64)]
    assert [launch.status for launch in launches] == [0, 0, 0]
    summaries = [launch.summary for launch in launches]
    assert [summary["images"] for summary in summaries] == [IMAGES] * 3
    for key in ("top1_accuracy", "top2_accuracy", "top5_accuracy"):
        assert len({summary[key] for summary in summaries}) == 1
    assert summaries[0]["loss"] == pytest.approx(summaries[1]["loss"], rel=1e-6)
    assert summaries[0]["loss"] == pytest.approx(summaries[2]["loss"], rel=1e-6)
    assert 0 < summaries[0]["top1_accuracy"] < summaries[0]["top2_accuracy"] <= summaries[0]["top5_accuracy"] == 1.0
    assert summaries[0]["weights"] == str(weights / "model.ckpt-8")
    assert (summaries[0]["top1_accuracy"] * IMAGES) % 1 == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_a_summary_has_throughput_and_latencies_however_short_it_was(data, weights, tmp_path):
    summary = evaluate(data, weights, tmp_path, "--batch_size=23").summary
    expected = {"eval_throughput", "input_wait_share"} | {
        f"eval_latency_{name}" for name in ("avg", "p50", "p90", "p95", "p99")
    }
    assert expected <= set(summary)
    assert all(summary[key] > 0 for key in expected)


@pytest.mark.slow
def test_a_part_can_be_evaluated_by_its_batches(data, weights, tmp_path):
    part = evaluate(data, weights, tmp_path, "--batch_size=5", "--num_iter=2", "--iter_unit=batch")
    assert part.summary["images"] == 10


@pytest.mark.slow
def test_evaluation_leaves_the_checkpoint_as_it_was(data, weights, tmp_path):
    before = values(weights / "model.ckpt-8"), read_metadata(weights / "model.ckpt-8")
    evaluate(data, weights, tmp_path, "--batch_size=4")
    after = values(weights / "model.ckpt-8"), read_metadata(weights / "model.ckpt-8")
    assert not (weights / "eval").exists()
    assert after[1] == before[1]
    assert all(np.array_equal(after[0][name], value) for name, value in before[0].items())
    assert list((tmp_path / "eval").glob("events.out.tfevents.*"))


@contextlib.contextmanager
def opened(data, results, *more, arch="resnet50", mode="inference_benchmark"):
    """An evaluation of the tiny network with random weights."""
    flags = [*network(data, results, mode, arch), "--batch_size=5", "--num_iter=60", "--iter_unit=batch", "--seed=2"]
    with tiny_networks():
        evaluation = Evaluation(set_up(parse([*flags, *more], {}).config, SerialCommunicator()), SerialCommunicator())
    with contextlib.closing(evaluation):
        yield evaluation


class Counter(Hook):
    def __init__(self, stop_after=None):
        self.steps = []
        self._stop_after = stop_after

    def after_step(self, record):
        self.steps.append(record.step)

    @property
    def wants_stop(self):
        return self._stop_after is not None and len(self.steps) >= self._stop_after


def test_a_split_is_begun_again_for_benchmarks(data, tmp_path):
    counter = Counter()
    with opened(data, tmp_path) as evaluation:
        assert evaluation.run([counter], 12, repeat=True).result()["images"] == IMAGES * 2 + 10  # 5 + 5 + 2 batches
        assert counter.steps == [*range(1, 13)]
        assert evaluation.run([], 2, repeat=True).result()["images"] == 10
        assert evaluation.run([], 5, repeat=True).result()["images"] == IMAGES
        assert evaluation.run([]).result()["images"] == IMAGES


@pytest.mark.parametrize("stop_after", [0, 2])
def test_an_evaluation_that_is_stopped_has_no_result(data, tmp_path, stop_after):
    counter = Counter(stop_after)
    with opened(data, tmp_path) as evaluation:
        assert evaluation.run([counter]) is None
        assert len(counter.steps) == stop_after
        assert evaluation.run([counter], 12, repeat=True) is None


@pytest.mark.slow
def test_the_checkpoint_of_another_network_is_a_sentence(data, weights, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(weights, bare)
    for path in bare.glob("*.json"):
        path.unlink()
    with opened(data, tmp_path, arch="se-resnext101-32x4d") as evaluation, pytest.raises(RunError) as raised:
        evaluation.load(bare / "model.ckpt-8")
    assert "has no variable se-resnext101-32x4d/" in str(raised.value)
    assert str(raised.value).endswith("; it holds variables of resnet50 (--arch, --model_dir)")
    with opened(data, tmp_path, "--num_classes=7") as evaluation, pytest.raises(RunError) as raised:
        evaluation.load(bare / "model.ckpt-8")
    assert "has shape" in str(raised.value)
    assert str(raised.value).endswith("(--num_classes, --arch)")


@pytest.mark.slow
def test_what_is_not_the_networks_is_left_in_the_checkpoint(data, weights, tmp_path):
    with opened(data, tmp_path) as evaluation:
        evaluation.load(weights / "model.ckpt-8")  # contains slots and the step beside the weights
        loaded = {v.op.name for v in evaluation.graph.network.weights.variables}
    stored = values(weights / "model.ckpt-8")
    assert set(stored) - loaded == {"global_step"} | {name for name in stored if name.endswith("/Momentum")}
    assert loaded < set(stored)


@pytest.mark.slow
def test_damaged_weights_are_a_sentence(data, weights, tmp_path):
    shutil.copytree(weights, tmp_path / "run")
    path = tmp_path / "run" / "model.ckpt-8.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:100])
    with opened(data, tmp_path / "results") as evaluation, pytest.raises(RunError, match="the checkpoint is damaged"):
        evaluation.load(tmp_path / "run" / "model.ckpt-8")


def test_weights_that_are_no_numbers_are_an_error_and_no_accuracy(data, weights, tmp_path):
    with opened(data, tmp_path) as evaluation:
        evaluation.load(weights / "model.ckpt-8")
        for variable in evaluation.graph.network.held:
            evaluation._session.run(variable.assign, {variable.given: np.full(variable.shape, np.nan, np.float32)})
        with pytest.raises(RunError, match="logits are not finite"):
            evaluation.run([])
