"""Schedules: values computed by hand, and one formula for numbers, arrays and tensors."""

import math

import numpy as np
import pytest
import tensorflow as tf

from utils.config import OptimizerConfig
from utils.learning_rate import Schedule, make_schedule

tf1 = tf.compat.v1


def schedule(kind="cosine", **changes):
    config = OptimizerConfig(learning_rate_per_256=0.256, warmup_epochs=8, schedule=kind, **changes)
    return make_schedule(config, global_batch=768, steps_per_epoch=1668, total_steps=90 * 1668)


def test_the_peak_grows_with_the_global_batch():
    assert schedule().peak == pytest.approx(0.768)


def test_the_ramp_begins_at_0_and_rises_by_the_same_amount_each_step():
    rates = [float(schedule().rate(step)) for step in (0, 1, 1668, 13343)]
    assert rates == pytest.approx([0, 0.768 / 13344, 0.768 / 8, 0.768 * 13343 / 13344])


def test_the_cosine_drops_to_0_981_of_the_peak_where_the_ramp_of_8_in_90_epochs_ends():
    assert float(schedule().rate(8 * 1668)) / 0.768 == pytest.approx(0.5 * (1 + math.cos(math.pi * 8 / 90)))
    assert float(schedule().rate(8 * 1668)) / 0.768 == pytest.approx(0.981, abs=5e-4)


def test_the_cosine_ends_at_0_and_stays_there():
    assert float(schedule().rate(90 * 1668)) == pytest.approx(0, abs=1e-12)
    assert float(schedule().rate(91 * 1668)) == pytest.approx(0, abs=1e-12)


def test_the_steps_fall_after_the_boundary_step_itself():
    rates = [float(schedule("step").rate(1668 * epoch + more)) / 0.768 for epoch in (30, 60, 80, 90) for more in (0, 1)]
    assert rates == pytest.approx([1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.0001])


def test_no_warmup_starts_at_the_peak():
    config = OptimizerConfig(learning_rate_per_256=0.1, warmup_epochs=0, schedule="cosine")
    rate = make_schedule(config, global_batch=256, steps_per_epoch=10, total_steps=100).rate(0)
    assert float(rate) == pytest.approx(0.1)


def test_a_warmup_of_part_of_an_epoch_is_cut_to_whole_steps():
    config = OptimizerConfig(warmup_epochs=0.55)
    assert make_schedule(config, global_batch=256, steps_per_epoch=10, total_steps=100).warmup_steps == 5


@pytest.mark.parametrize("kind", ["cosine", "step"])
def test_tensors_arrays_and_numbers_give_the_same_rate(kind):
    steps = np.array([0, 5, 8, 9, 20, 21, 30, 31, 49, 60], np.float64)
    plan = Schedule(kind=kind, peak=0.3, warmup_steps=9, decay_steps=50, boundaries=(20, 30))
    with tf.Graph().as_default(), tf1.Session() as session:
        placeholder = tf1.placeholder(tf.float64, [])
        rate = plan.rate(placeholder, tf)
        tensors = [session.run(rate, {placeholder: step}) for step in steps]
    np.testing.assert_allclose(tensors, plan.rate(steps), rtol=1e-12)
    np.testing.assert_allclose([float(plan.rate(int(step))) for step in steps], plan.rate(steps), rtol=1e-12)
