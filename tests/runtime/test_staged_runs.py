"""Launches with staged batches, as on a GPU, against launches without; soft placement puts the batches on the CPU."""

import contextlib
import signal
from unittest import mock

import pytest

from tests.runtime.runs import assert_same_checkpoint, at_step, network, run, send, train
from utils.input import staging
from utils.weights.checkpoint_files import read_metadata

FLAGS = ("--num_iter=8", "--iter_unit=batch", "--display_every=1", "--mixup=0.2", "--lr_init=2", "--deterministic")


@contextlib.contextmanager
def on_a_gpu():
    """Stages the batches of all inputs; yields the devices that they were staged on."""
    devices = []

    def staged(data, device):
        devices.append(device)
        return staging.staged(data, device)

    with mock.patch("runtime.session.uses_gpu", return_value=True), mock.patch("runtime.session.staged", staged):
        yield devices


@pytest.mark.slow
def test_interrupted_training_with_staging_equals_training_without(data_dir, tmp_path):
    """Five steps an epoch: a launch ends with a batch of its epoch staged, the next one crosses the epoch's end."""
    whole = train(data_dir, tmp_path / "whole", *FLAGS)
    with on_a_gpu() as devices:
        launches = [train(data_dir, tmp_path / "parts", *FLAGS, "--run_iter=2")]
        with at_step(4, send(signal.SIGTERM)):
            launches.append(train(data_dir, tmp_path / "parts", *FLAGS))
        launches.append(train(data_dir, tmp_path / "parts", *FLAGS))
    assert devices == ["/GPU:0"] * 3
    assert [launch.status for launch in launches] == [0, 75, 0]
    assert_same_checkpoint(tmp_path / "whole" / "model.ckpt-8", tmp_path / "parts" / "model.ckpt-8")
    ours, theirs = (read_metadata(tmp_path / name / "model.ckpt-8") for name in ("parts", "whole"))
    assert ours["position"] == {"epoch": 1, "example": 12}
    assert ours == theirs
    assert [loss for launch in launches for loss in launch.losses] == whole.losses
    assert len(whole.losses) == 8


@pytest.mark.slow
def test_evaluation_with_staging_equals_evaluation_without(data_dir, trained, tmp_path):
    """Ten images in batches of four; the benchmark begins them anew several times."""

    def launch(name, mode, *more):
        flags = network(data_dir, tmp_path / name, mode)
        return run(*flags, f"--model_dir={trained}", "--batch_size=4", *more)

    def measured(summary):
        return {
            key: value for key, value in summary.items() if "latency" in key or "throughput" in key or "share" in key
        }

    whole = launch("whole", "evaluate").summary
    with on_a_gpu() as devices:
        staged = launch("staged", "evaluate").summary
        benchmark = launch(
            "benchmark", "inference_benchmark", "--num_iter=7", "--iter_unit=batch", "--warmup_steps=1"
        ).summary
    assert devices == ["/GPU:0"] * 2
    assert staged["images"] == 10
    assert {**staged, **measured(whole)} == {**whole, **measured(whole)}
    assert benchmark["images"] == 4 + 4 + 2 + 4 + 4 + 2 + 4
    assert 0 <= benchmark["input_wait_share"] < 1
