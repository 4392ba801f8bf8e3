"""Epochs and batches are converted to integer steps once."""

import dataclasses

import pytest

from runtime.planning.plan import measured_warmup, plan_training
from utils.config import Duration, ExperimentConfig, RunConfig
from utils.data_config import DataConfig
from utils.errors import UsageError
from utils.image_sizes import train_sizes_of_text
from utils.optimizer_config import OptimizerConfig


def config(value=1, unit="epoch", *, limit=None, batch=4, mode="train", warmup_steps=50, **optimizer):
    return ExperimentConfig(
        data=DataConfig(data_dir="data", batch_size_per_replica=batch),
        optimizer=OptimizerConfig(**optimizer),
        run=RunConfig(
            mode=mode,
            duration=Duration(value=value, unit=unit),
            run_limit=None if limit is None else Duration(value=limit, unit=unit, flag="run_iter"),
            warmup_steps=warmup_steps,
        ),
    )


@pytest.mark.parametrize(
    ("examples", "batch", "processes", "value", "unit", "steps_per_epoch", "total_steps"),
    [
        (32, 4, 1, 11, "batch", 8, 11),  # the original's 5.5 steps per epoch
        (32, 4, 1, 11, "epoch", 8, 88),
        (35, 4, 1, 2, "epoch", 8, 16),  # floor, in both units
        (35, 4, 1, 2, "batch", 8, 2),
        (32, 4, 2, 3, "epoch", 4, 12),
        (32, 32, 1, 5, "epoch", 1, 5),
        (1_281_167, 256, 8, 90, "epoch", 625, 56_250),
        (1_281_167, 128, 8, 250, "epoch", 1251, 312_750),
        (1_281_167, 96, 8, 90, "epoch", 1668, 150_120),
    ],
)
def test_an_epoch_has_floor_of_n_over_g_steps_in_both_units(
    examples, batch, processes, value, unit, steps_per_epoch, total_steps
):
    plan = plan_training(config(value, unit, batch=batch), examples, processes)
    assert (plan.steps_per_epoch, plan.total_steps) == (steps_per_epoch, total_steps)
    assert plan.global_batch == batch * processes
    assert all(type(value) is int for value in (plan.steps_per_epoch, plan.total_steps, plan.global_batch))


@pytest.mark.parametrize("unit", ["epoch", "batch"])
def test_the_schedule_is_as_long_as_the_run_in_both_units(unit):
    plan = plan_training(config(24 if unit == "batch" else 3, unit, schedule="cosine", warmup_epochs=0), 32, 1)
    assert plan.schedule.decay_steps == plan.total_steps == 24
    assert plan.schedule.rate(24) == pytest.approx(0.0, abs=1e-12)


def test_the_rate_scales_with_the_global_batch_and_the_warmup_counts_epochs():
    plan = plan_training(config(10, learning_rate_per_256=0.256, warmup_epochs=1.5, batch=64), 1000, 4)
    assert plan.steps_per_epoch == 3
    assert plan.schedule.peak == pytest.approx(0.256)
    assert plan.schedule.warmup_steps == 4  # int(3 * 1.5)


@pytest.mark.parametrize(
    ("value", "unit", "limit", "start", "last"),
    [
        (3, "epoch", None, 0, 24),
        (3, "epoch", None, 20, 24),
        (3, "epoch", 1, 0, 8),
        (3, "epoch", 1, 8, 16),
        (3, "epoch", 1, 5, 13),  # an amount of work, wherever the launch starts
        (3, "epoch", 2, 20, 24),
        (3, "epoch", 1, 24, 24),
        (10, "batch", 4, 0, 4),
        (10, "batch", 4, 8, 10),
        (10, "batch", 40, 0, 10),
        (10, "batch", None, 12, 10),  # a run that was shortened has nothing left
    ],
)
def test_a_launch_ends_after_its_own_limit_or_with_the_run(value, unit, limit, start, last):
    settings = config(value, unit, limit=limit)
    assert plan_training(settings, 32, 1).last_step(settings, start) == last


def test_a_global_batch_larger_than_the_data_is_refused_in_both_units():
    for unit in ("epoch", "batch"):
        with pytest.raises(UsageError, match=r"--batch_size 17: the global batch of 34 is larger than the 33 training"):
            plan_training(config(2, unit, batch=17), 33, 2)
    assert plan_training(config(2, batch=17), 34, 2).steps_per_epoch == 1


@pytest.mark.parametrize(
    ("batches", "warmup_steps", "expected"),
    [(1, 50, 0), (9, 50, 0), (10, 50, 1), (100, 50, 10), (500, 50, 50), (10_000, 50, 50), (100, 3, 3), (100, 0, 0)],
)
def test_outside_benchmarks_a_tenth_of_the_batches_at_most_goes_unmeasured(batches, warmup_steps, expected):
    for mode in ("train", "train_and_evaluate", "evaluate"):
        assert measured_warmup(config(mode=mode, warmup_steps=warmup_steps), batches) == expected


def test_a_benchmark_leaves_out_what_was_asked_for():
    assert measured_warmup(config(8, mode="training_benchmark", warmup_steps=50), 51) == 50


@pytest.mark.parametrize("mode", ["training_benchmark", "inference_benchmark"])
@pytest.mark.parametrize("batches", [1, 49, 50])
def test_a_benchmark_with_nothing_left_to_measure_is_refused(mode, batches):
    with pytest.raises(UsageError, match=rf"--num_iter gives {batches} steps: must be above --warmup_steps 50"):
        measured_warmup(config(8, mode=mode, warmup_steps=50), batches)


def test_the_plan_of_a_benchmark_refuses_before_anything_is_built():
    with pytest.raises(UsageError, match="--num_iter gives 8 steps: must be above --warmup_steps 50"):
        plan_training(config(1, mode="training_benchmark"), 32, 1)
    with pytest.raises(UsageError, match="--num_iter gives 8 steps"):  # only this launch is measured
        plan_training(config(100, limit=1, mode="training_benchmark"), 32, 1)
    assert plan_training(config(100, mode="training_benchmark"), 32, 1).total_steps == 800


def staged(text, steps):
    settings = config(steps, "batch")
    data = dataclasses.replace(settings.data, progressive_sizes=train_sizes_of_text(text))
    return plan_training(dataclasses.replace(settings, data=data), 32, 1)


def test_stages_begin_at_shares_of_the_run():
    plan = staged("128:0,160:0.4,192:.7", 9)  # after 0, 3.6 and 6.3 steps
    assert [plan.stage(step).size for step in range(9)] == [128] * 4 + [160] * 2 + [192] * 3
    assert [plan.end_of_stage(step) for step in range(9)] == [4] * 4 + [6] * 2 + [9] * 3
    assert plan_training(config(9, "batch"), 32, 1).stage(0) is None


def test_a_stage_without_a_step_is_a_sentence():
    with pytest.raises(UsageError, match=r"128:0,160:0\.4,192:0\.7: images of 128 pixels would have no step .* 1 s"):
        staged("128:0,160:0.4,192:0.7", 1)
