"""Trials of single parts: what they compute on the CPU, and what they say of a fault."""

import numpy as np
import pytest

from tests.distributed.launching import MPI, need
from tools.doctor.gpu import parts
from tools.doctor.probe import Skipped
from utils import optimizers
from utils.errors import RunError


def test_grouped_convolutions_agree_with_split_ones():
    found = parts.grouped_convolution()
    assert 0 <= found.facts["errors"]["float32"] < 1e-5
    assert "on the CPU" in found.text


def test_a_wrong_grouped_convolution_is_noticed(monkeypatch):
    whole = parts.convolve

    def wrong(inputs, kernel, options, **more):
        return whole(inputs, kernel * (1.001 if options.grouped_convolution == "native" else 1.0), options, **more)

    monkeypatch.setattr(parts, "convolve", wrong)
    with pytest.raises(RunError, match="grouped and split convolutions differ"):
        parts.grouped_convolution()


def test_float16_gradients_overflow_until_the_scale_has_halved_six_times():
    """The gradient is 64 times the scale, and 65,504 the largest float16: 2^15 down to 2^10 overflow, 2^9 does not."""
    assert parts.loss_scaling().facts["scales"] == [2.0**exponent for exponent in range(15, 8, -1)]


def test_a_scale_that_overflow_does_not_lower_is_noticed(monkeypatch):
    monkeypatch.setattr(optimizers, "LOSS_SCALE_FACTOR", 1.0)
    with pytest.raises(RunError, match="first update had the loss scale 32768"):
        parts.loss_scaling()


def test_dali_on_a_gpu_needs_a_gpu():
    with pytest.raises(Skipped, match="needs a GPU; TensorFlow finds none"):
        parts.dali()


@pytest.mark.slow
def test_readers_are_compared_over_training_and_repeated_evaluation():
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed (requirements/dali.txt)")
    assert 0 < parts.difference_of_readers(["--cpu"]) < parts.DALI_TOLERANCE


def test_images_that_differ_are_noticed(monkeypatch):
    monkeypatch.setattr(parts, "require_gpus", lambda: None)
    monkeypatch.setattr(parts, "difference_of_readers", lambda flags: 1.5)
    with pytest.raises(RunError, match=r"DALI's images differ by 1\.50 grey levels on average"):
        parts.dali()


def test_two_processes_average_on_the_cpu():
    need(MPI)
    facts = parts.all_reduce().facts
    assert facts["processes"] == 2
    assert all(0 < seconds < 60 for seconds in facts["seconds"].values())
    assert list(facts["seconds"]) == ["25", "100"]
    assert facts["gb_per_second"]["100"] == pytest.approx(0.1 / facts["seconds"]["100"])
    assert np.isfinite(list(facts["seconds"].values())).all()
