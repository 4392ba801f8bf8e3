"""A loss that is no longer a number ends the run before it is saved."""

import numpy as np
import pytest

from tests.utils.hooks.steps import step
from utils.errors import RunError
from utils.hooks.nan_guard import NanGuard


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_the_step_and_the_scalar_are_named(value):
    record = step(17, cross_entropy=np.float32(1.0), l2_loss=np.float32(value), total_loss=np.float32(value))
    with pytest.raises(RunError, match=rf"step 17: l2_loss is {value}; stopped before the weights are saved"):
        NanGuard().after_step(record)


def test_finite_scalars_pass():
    NanGuard().after_step(step(1, total_loss=np.float32(1e38), learning_rate=np.float64(0.0), loss_scale=np.float16(2)))


def test_only_scalars_are_judged():
    NanGuard().after_step(step(1, logits=np.array([np.nan]), index=np.int64(-1), name="text"))
