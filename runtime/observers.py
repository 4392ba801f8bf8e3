"""The hooks that observe the loops of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from runtime.planning.plan import TrainingPlan, measured_warmup
from runtime.stopping import Stopping
from runtime.task import Setup
from runtime.trainer import Trainer
from utils.dllogger_utils import Logger
from utils.hooks.bad_records import BadRecordHook
from utils.hooks.beginning import BeginningHook
from utils.hooks.checkpoint import CheckpointHook
from utils.hooks.hook import Hook
from utils.hooks.logs import BenchmarkLogHook, SummaryHook, TrainingLogHook
from utils.hooks.measurement import MeasurementHook
from utils.hooks.nan_guard import NanGuard
from utils.hooks.profile import ProfileHook
from utils.hooks.progress import ProgressHook
from utils.hvd_utils import Communicator
from utils.reporting.event_file import has_events


class Observers:
    """Makes the hooks of each loop: guards first, so that nothing is saved or logged that they would refuse.

    Args:
        setup: What is run.
        communicator: The processes that share the run; rank 0 shows progress and writes events.
        logger: The log.
        stopping: Knows when the processes stop because of a signal.
    """

    def __init__(self, setup: Setup, communicator: Communicator, logger: Logger, stopping: Stopping) -> None:
        self._config = setup.config
        self._data = setup.task.data
        self._chance = setup.task.training.chance
        self._communicator = communicator
        self._logger = logger
        self._stopping = stopping
        diagnostics, run = self._config.diagnostics, self._config.run
        self._profile: list[ProfileHook] = []
        if diagnostics.profile and communicator.rank == 0:
            mark = "train" if run.is_training else "eval"
            self._profile = [ProfileHook(diagnostics.profile, Path(run.results_dir), mark)]

    def close(self) -> None:
        """Warns about requested traces that no step produced."""
        for hook in self._profile:
            hook.close()

    @contextlib.contextmanager
    def training(self, trainer: Trainer, measurement: MeasurementHook, events: Path) -> Iterator[list[Hook]]:
        """Observers of training that is kept; TensorBoard's events go to the folder ``events``."""
        run, plan = self._config.run, trainer.plan
        last = plan.last_step(self._config, trainer.step)
        beginning = self._beginning(trainer)
        logs = TrainingLogHook(
            self._logger,
            every=run.display_every,
            steps_per_epoch=plan.steps_per_epoch,
            global_batch=plan.global_batch,
            more=beginning.take if beginning else dict,
        )
        hooks = [*self._of_training(measurement, last), *([beginning] if beginning else []), logs]
        saving = CheckpointHook(run.checkpoint_every, lambda step: self.save(trainer, step))  # last: see ``save``
        if self._communicator.rank > 0:
            yield [*hooks, saving]
            return
        begins = trainer.step == 0 or not has_events(events)
        with contextlib.closing(SummaryHook(events, run.display_every)) as summaries:
            if begins:
                summaries.show_graph(trainer.graph.graph)
            yield [*hooks, summaries, saving]

    def save(self, trainer: Trainer, step: int) -> None:
        """Saves the checkpoint of a step once all log records up to it are on disk.

        A launch that resumes does not log the steps of its checkpoint again, so they would be missing for good.

        Raises:
            RunError: A weight is not finite, or the checkpoint cannot be written.
        """
        self._logger.flush_to_disk()
        trainer.save(step)

    def _beginning(self, trainer: Trainer) -> BeginningHook | None:
        """The observer of a run's first step, if the loss of chance is known."""
        if trainer.step or self._chance is None:
            return None
        return BeginningHook(self._chance, new=trainer.has_new_head)

    def training_benchmark(
        self, plan: TrainingPlan, measurement: MeasurementHook, network: MeasurementHook, warmup: int
    ) -> list[Hook]:
        """Observers of training that is only measured."""
        return [*self._of_training(measurement), network, self._speed(plan.global_batch, warmup)]

    def evaluation(self, measurement: MeasurementHook, bad: BadRecordHook, batch: int, warmup: int) -> list[Hook]:
        """Observers of a loop over the validation split."""
        progress = ProgressHook(self._logger.screen, "validation")
        hooks = [bad, measurement, progress, self._stopping.asked_here]
        logged = self._config.run.mode in ("evaluate", "inference_benchmark")
        return [*self._profile, *hooks, self._speed(batch, warmup)] if logged else hooks

    def network(self, measurement: MeasurementHook) -> list[Hook]:
        """Observers of the network that runs alone."""
        return [measurement, ProgressHook(self._logger.screen, "network"), self._stopping.asked_here]

    def bad_records(self, split: str) -> BadRecordHook:
        """The hook that counts unreadable records of a split."""
        allowed = self._config.data.max_bad_records
        return BadRecordHook(
            allowed, lambda index, status: self._data.describe_bad_example(split, index, status), self._communicator
        )

    def measurement(self, batch: int, batches: int, *, without_input: bool = False) -> MeasurementHook:
        """Measures ``batches`` batches of ``batch`` images, all processes' together, without the warm-up."""
        warmup = measured_warmup(self._config, batches)
        return MeasurementHook(batch, warmup, self._config.run.percentiles, without_input=without_input)

    def _of_training(self, measurement: MeasurementHook, last: int | None = None) -> list[Hook]:
        progress = ProgressHook(self._logger.screen, "train", "total_loss", last)
        return [*self._profile, NanGuard(), self.bad_records("train"), measurement, progress, self._stopping]

    def _speed(self, batch: int, warmup: int) -> BenchmarkLogHook:
        every = self._config.run.display_every
        return BenchmarkLogHook(self._logger, every=every, batch_size=batch, warmup_batches=warmup)
