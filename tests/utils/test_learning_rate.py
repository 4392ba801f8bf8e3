"""Schedules: values computed by hand, and one formula for numbers, arrays and tensors."""

import math

import numpy as np
import pytest
import tensorflow as tf

from utils.learning_rate import Schedule, make_schedule
from utils.optimizer_config import SCHEDULES, OptimizerConfig

tf1 = tf.compat.v1


def schedule(kind="cosine", **changes):
    config = OptimizerConfig(learning_rate_per_256=0.256, warmup_epochs=8, schedule=kind, **changes)
    return make_schedule(config, global_batch=768, steps_per_epoch=1668, total_steps=90 * 1668)


def test_the_peak_grows_with_the_global_batch():
    assert schedule().peak == pytest.approx(0.768)


@pytest.mark.parametrize(
    ("name", "factor"), [("momentum", 1 / 64), ("lars", 1 / 64), ("lamb", 1 / 8), ("adamw", 1 / 8)]
)
def test_a_recipe_is_fitted_to_a_batch_in_proportion_and_for_adaptive_optimizers_by_the_root(name, factor):
    rates = {"learning_rate_per_256": 1e-3, "lr_final": 1.25e-7, "lr_warmup_start": 1.25e-5, "schedule": "cosine"}
    length = {"steps_per_epoch": 10, "total_steps": 100}
    fitted = OptimizerConfig(name=name, recipe_batch=2048, scale_recipe=True, **rates)
    published = make_schedule(fitted, global_batch=2048, **length)
    assert (published.peak, published.final, published.start) == pytest.approx((8e-3, 1e-6, 1e-4), rel=1e-12)
    small = make_schedule(fitted, global_batch=32, **length)
    expected = (8e-3 * factor, 1e-6 * factor, 1e-4 * factor)
    assert (small.peak, small.final, small.start) == pytest.approx(expected, rel=1e-12)
    assert small.warmup_steps == published.warmup_steps == 50
    as_written = make_schedule(OptimizerConfig(name=name, recipe_batch=2048, **rates), global_batch=32, **length)
    assert as_written == make_schedule(OptimizerConfig(name=name, **rates), global_batch=32, **length)
    assert as_written.peak == pytest.approx(8e-3 / 64, rel=1e-12)


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


COURSES = {  # at 0, half of the ramp, its end, half of the decay, the last step, later; peak 1, start 0.1, final 0.2
    "step": (0.1, 0.55, 1.0, 1.0, 1.0, 0.1),
    "constant": (0.1, 0.55, 1.0, 1.0, 1.0, 1.0),
    "cosine": (0.1, 0.55, *(0.6 + 0.4 * math.cos(math.pi * phase) for phase in (0.1, 0.55)), 0.2, 0.2),
    "one_cycle": (0.1, 0.55, 1.0, 0.6, 0.2, 0.2),
    "linear": (0.1, 0.55, 1.0, 0.6, 0.2, 0.2),
    "poly": (0.1, 0.55, 1.0, 0.2 + 0.8 / 4, 0.2, 0.2),
    "wsd": (0.1, 0.55, 1.0, 1.0, 0.2, 0.2),
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_each_schedule_takes_its_course(kind):
    final = {} if kind in ("step", "constant") else {"lr_final": 0.1}
    config = OptimizerConfig(learning_rate_per_256=0.5, warmup_epochs=1, schedule=kind, lr_warmup_start=0.05, **final)
    plan = make_schedule(config, global_batch=512, steps_per_epoch=100, total_steps=1000)
    rates = [float(plan.rate(step)) for step in (0, 50, 100, 550, 1000, 3001)]
    assert rates == pytest.approx(COURSES[kind])
    if kind == "wsd":  # falls along a line in the last fifth
        assert [float(plan.rate(step)) for step in (800, 900)] == pytest.approx([1.0, 0.6])
    if kind == "one_cycle":  # rises along a cosine, not a line
        assert float(plan.rate(25)) == pytest.approx(0.1 + 0.9 * 0.5 * (1 - math.cos(math.pi / 4)))


def test_a_range_test_rises_in_equal_ratios_and_then_stays():
    plan = Schedule(kind="exponential", peak=10.0, start=1e-3, final=10.0, warmup_steps=0, decay_steps=4)
    assert [float(plan.rate(step)) for step in range(6)] == pytest.approx([1e-3, 1e-2, 0.1, 1, 10, 10])
    with tf.Graph().as_default(), tf1.Session() as session:
        assert session.run(plan.rate(tf.constant(3.0, tf.float64), tf)) == pytest.approx(1)


def test_one_cycle_begins_at_a_25th_of_the_peak_and_ends_at_a_250000th():
    config = OptimizerConfig(learning_rate=0.5, warmup_epochs=None, warmup_share=0.3, schedule="one_cycle")
    plan = make_schedule(config, global_batch=512, steps_per_epoch=100, total_steps=1000)
    assert [float(plan.rate(step)) for step in (0, 300, 1000)] == pytest.approx([0.02, 0.5, 2e-6])


@pytest.mark.parametrize("kind", SCHEDULES)
def test_tensors_arrays_and_numbers_give_the_same_rate(kind):
    steps = np.array([0, 5, 8, 9, 20, 21, 30, 31, 49, 60], np.float64)
    plan = Schedule(kind=kind, peak=0.3, warmup_steps=9, decay_steps=50, boundaries=(20, 30))
    with tf.Graph().as_default(), tf1.Session() as session:
        placeholder = tf1.placeholder(tf.float64, [])
        rate = plan.rate(placeholder, tf)
        tensors = [session.run(rate, {placeholder: step}) for step in steps]
    np.testing.assert_allclose(tensors, plan.rate(steps), rtol=1e-12)
    np.testing.assert_allclose([float(plan.rate(int(step))) for step in steps], plan.rate(steps), rtol=1e-12)
