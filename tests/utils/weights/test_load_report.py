"""The reasons why stored tensors are not loaded."""

import pytest

from utils.weights.load_report import is_unknown, why_unused


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("global_step", "not used, training step"),
        ("resnet50/output/dense/kernel/Momentum", "not used, optimizer state"),
        ("loss_scale", "not used, optimizer state"),
        ("resnet50/conv2d/kernel", "not used, no variable matches it"),
    ],
)
def test_a_tensor_that_is_not_used_has_a_reason(name, reason):
    assert why_unused(name) == reason
    assert is_unknown(name) == ("matches" in reason)
