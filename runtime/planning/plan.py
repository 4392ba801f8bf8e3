"""Step arithmetic: the length of a run, and the start and end of a launch. Integers only, no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass

from utils.config import ExperimentConfig, check_benchmark_length
from utils.errors import require_full_batch
from utils.image_sizes import Stage, stages_of
from utils.learning_rate import Schedule, make_schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """A run in steps; one step is one update of all replicas together.

    Attributes:
        num_examples: Number of examples in the training split.
        global_batch: Examples per step over all replicas.
        steps_per_epoch: Floor(num_examples / global_batch).
        total_steps: Length of the whole run over all its launches, and of the schedule.
        schedule: The learning-rate schedule.
        stages: The stages of a run whose images change their size; empty for all others.
    """

    num_examples: int
    global_batch: int
    steps_per_epoch: int
    total_steps: int
    schedule: Schedule
    stages: tuple[Stage, ...] = ()

    def stage(self, step: int) -> Stage | None:
        """The stage that the step after ``step`` belongs to."""
        return next((stage for stage in reversed(self.stages) if stage.first <= step), None)

    def end_of_stage(self, step: int) -> int:
        """The last step of that stage."""
        return next((stage.first for stage in self.stages if stage.first > step), self.total_steps)

    def last_step(self, config: ExperimentConfig, start: int) -> int:
        """The step at which a launch that starts at ``start`` ends."""
        limit = config.run.run_limit
        if limit is None:
            return self.total_steps
        return min(self.total_steps, start + limit.to_steps(self.steps_per_epoch))


def length_in_steps(config: ExperimentConfig, num_examples: int, processes: int) -> tuple[int, int]:
    """Steps of an epoch and of the whole run, given the number of training examples."""
    steps_per_epoch = num_examples // (config.images_per_step * processes)
    return steps_per_epoch, config.run.duration.to_steps(steps_per_epoch)


def plan_training(config: ExperimentConfig, num_examples: int, processes: int) -> TrainingPlan:
    """Converts the durations of a run to steps.

    Raises:
        UsageError: The global batch is larger than the data, or a benchmark would have nothing left to measure.
    """
    global_batch = config.images_per_step * processes
    parts = processes * config.optimizer.accumulate_steps
    require_full_batch(config.data.batch_size_per_replica, parts, num_examples, config.data.data_dir)
    steps_per_epoch, total_steps = length_in_steps(config, num_examples, processes)
    launch = config.run.run_limit.to_steps(steps_per_epoch) if config.run.run_limit else total_steps
    if config.run.is_benchmark:
        check_benchmark_length(min(launch, total_steps), config.run.warmup_steps)
    config.diagnostics.check_length(total_steps)
    return TrainingPlan(
        num_examples=num_examples,
        global_batch=global_batch,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        schedule=make_schedule(
            config.optimizer, global_batch=global_batch, steps_per_epoch=steps_per_epoch, total_steps=total_steps
        ),
        stages=stages_of(config.data.progressive_sizes, total_steps),
    )


def batches_to_evaluate(config: ExperimentConfig, num_examples: int, processes: int) -> int:
    """Number of global batches of an evaluation: the whole split, or as many as the mode and its duration say.

    Raises:
        UsageError: A trace would begin after the last one.
    """
    run = config.run
    whole = -(-num_examples // (config.data.batch_size_per_replica * processes))
    limited = run.mode == "inference_benchmark" or (run.mode == "evaluate" and run.duration.unit == "batch")
    batches = run.duration.to_steps(whole) if limited else whole
    if not run.is_training:
        config.diagnostics.check_length(batches, "batches")
    return batches


def measured_warmup(config: ExperimentConfig, batches: int) -> int:
    """Number of warm-up batches left out of measurements: ``--warmup_steps``, outside benchmarks at most a tenth.

    Raises:
        UsageError: A benchmark would have nothing left to measure.
    """
    if config.run.is_benchmark:
        check_benchmark_length(batches, config.run.warmup_steps)
        return config.run.warmup_steps
    return min(config.run.warmup_steps, batches // 10)
