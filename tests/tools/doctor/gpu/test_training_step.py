"""A training step beside float32 on the CPU: what is compared, and which differences are noticed."""

import dataclasses

import numpy as np
import pytest

from runtime import session
from tools.doctor.gpu import training_step
from tools.doctor.gpu.cards import BFLOAT16, FLOAT32
from tools.doctor.gpu.training_step import Step, first_step, network, relative_error
from utils.errors import RunError

SMALL = {"device": "CPU", "batch": 2, "size": 32}


@pytest.fixture(scope="module")
def exact():
    return first_step("resnet18", FLOAT32, timed=1, **SMALL)


def test_a_step_repeats_itself(exact):
    again = first_step("resnet18", FLOAT32, **SMALL)
    assert again.loss == exact.loss
    assert relative_error(again.gradients, exact.gradients) == 0
    assert exact.images_per_second > 0 == again.images_per_second
    assert exact.flops > 50e6  # 3.6 GFLOP at 224 pixels


def test_the_graph_of_a_machine_with_a_gpu_has_a_reference_on_its_cpu(exact, monkeypatch):
    monkeypatch.setattr(session, "uses_gpu", lambda config: True)
    staged = first_step("resnet18", FLOAT32, timed=2, **SMALL)
    assert staged.loss == exact.loss
    assert staged.images_per_second > 0


def test_the_gradients_that_are_compared_come_from_the_images(exact):
    offsets = {name: gradient for name, gradient in exact.gradients.items() if name.endswith("/beta/Momentum")}
    assert offsets  # they begin at 0, so that they have no L2 penalty
    assert [name for name, gradient in offsets.items() if not gradient.any()] == []


def test_the_relative_error_is_that_of_all_gradients_together():
    exact = {"a": np.array([3.0]), "b": np.array([4.0])}
    assert relative_error({"a": np.array([3.0]), "b": np.array([4.5])}, exact) == 0.1
    with pytest.raises(RunError, match="different variables"):
        relative_error({"a": np.array([3.0])}, exact)


def given_steps(monkeypatch, *steps):
    """Lets the trial find these steps, the exact one first."""
    left = list(steps)
    monkeypatch.setattr(training_step, "first_step", lambda *names, **options: left.pop(0))
    monkeypatch.setattr(training_step, "product_speed", lambda kind, device: 1e12)


EXACT = Step(loss=2.0, gradients={"w/Momentum": np.array([3.0, 4.0])}, images_per_second=10.0, flops=10**9)


def test_the_row_states_errors_speed_and_share_of_the_peak(monkeypatch):
    near = dataclasses.replace(EXACT, loss=2.01, gradients={"w/Momentum": np.array([3.0, 4.5])})
    given_steps(monkeypatch, EXACT, near)
    row = network("resnet18").facts["steps"]["bfloat16"]
    assert row["within"]
    assert row["loss_error"] == pytest.approx(0.005)
    assert row["gradient_error"] == pytest.approx(0.1)
    assert row["share_of_matrix_peak"] == 0.03  # 3 x 10^9 x 10 of 10^12 operations a second


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": 2.0 * (1 + 1.01 * training_step.LOSS_TOLERANCE["bfloat16"])},
        {"loss": float("nan")},
        {"gradients": {"w/Momentum": np.array([-3.0, -4.0])}},
        {"gradients": {"w/Momentum": np.array([np.nan, 4.0])}},
        {"gradients": {"w/Momentum": np.array([3.0, 4.0 + 5.05 * BFLOAT16.tolerance])}},
    ],
)
def test_a_step_outside_the_tolerance_is_named(wrong, monkeypatch):
    given_steps(monkeypatch, EXACT, dataclasses.replace(EXACT, **wrong))
    with pytest.raises(RunError, match="differs from float32 on the CPU: bfloat16 loss off by"):
        network("resnet18")
