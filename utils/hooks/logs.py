"""Log records and TensorBoard scalars while the loop runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from utils.dllogger_utils import Logger
from utils.errors import reason
from utils.hooks.hook import Hook, StepRecord
from utils.hooks.measurement import RateHook

tf1 = tf.compat.v1


class TrainingLogHook(Hook):
    """Logs the scalars and the speed each n-th step, and the scalars at the end of each epoch."""

    def __init__(self, logger: Logger, *, every: int, steps_per_epoch: int, global_batch: int) -> None:
        self._logger = logger
        self._every = every
        self._steps_per_epoch = steps_per_epoch
        self._rate = RateHook(global_batch)
        self._logged_step = 0

    def begin(self, step: int, last: int | None) -> None:
        self._logged_step = step

    def after_step(self, record: StepRecord) -> None:
        self._rate.after_step(record)
        if record.step == self._logged_step:  # a step skipped by dynamic loss scaling
            return
        self._logged_step = record.step
        epoch = (record.step - 1) // self._steps_per_epoch
        scalars = scalars_of(record)
        if record.step % self._every == 0:
            self._logger.log((epoch, record.step), {**self._rate.take("imgs_per_sec"), **scalars})
        if record.step % self._steps_per_epoch == 0:
            self._logger.log((epoch,), scalars)


class BenchmarkLogHook(Hook):
    """Logs the speed each n-th batch after the warm-up."""

    def __init__(self, logger: Logger, *, every: int, batch_size: int, warmup_batches: int) -> None:
        self._logger = logger
        self._every = every
        self._warmup = warmup_batches
        self._rate = RateHook(batch_size)
        self._batches = 0

    def after_step(self, record: StepRecord) -> None:
        self._rate.after_step(record)
        self._batches += 1
        if self._batches == self._warmup:
            self._rate.take("total_ips")
        elif self._batches > self._warmup and self._batches % self._every == 0:
            self._logger.log((0, self._batches), self._rate.take("total_ips"))


class SummaryHook(Hook):
    """Writes scalars for TensorBoard to the folder's event file, each n-th step and at the end of the loop."""

    def __init__(self, folder: Path, every: int) -> None:
        self._events = _Events(folder)
        self._every = every
        self._unwritten: StepRecord | None = None

    def after_step(self, record: StepRecord) -> None:
        self._unwritten = record
        if record.step % self._every == 0:
            self._write()

    def end(self) -> None:
        self._write()
        self._events.flush()

    def _write(self) -> None:
        if self._unwritten is not None:
            self._events.add(self._unwritten.step, scalars_of(self._unwritten))
            self._unwritten = None

    def close(self) -> None:
        self._events.close()


def write_event(folder: Path, step: int, scalars: Mapping[str, float]) -> None:
    """Adds one point to each scalar's curve in a folder of its own event files."""
    events = _Events(folder)
    events.add(step, scalars)
    events.close()


class _Events:
    """An event file of TensorBoard's. Where it cannot be written, that is said once: no run needs it to go on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None
        self._attempt(lambda: setattr(self, "_writer", _writer(folder)))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        if self._writer is not None:
            self._attempt(lambda: self._writer.add_summary(_summary(scalars), step))

    def flush(self) -> None:
        if self._writer is not None:
            self._attempt(lambda: self._writer.flush())

    def close(self) -> None:
        if self._writer is not None:
            self._attempt(lambda: self._writer.close())

    def _attempt(self, act: Callable[[], object]) -> None:
        try:
            act()
        except (OSError, RuntimeError, tf.errors.OpError) as error:  # the writer's thread raises RuntimeError
            self._writer = None
            logging.getLogger(__name__).warning(
                "%s: events for TensorBoard cannot be written (%s); going on without", self._folder, reason(error)
            )


def _writer(folder: Path) -> Any:
    with tf.Graph().as_default():  # the class refuses to work outside graph mode
        return tf1.summary.FileWriter(str(folder))


def _summary(scalars: Mapping[str, float]) -> Any:
    return tf1.Summary(value=[tf1.Summary.Value(tag=tag, simple_value=float(v)) for tag, v in scalars.items()])


def scalars_of(record: StepRecord) -> dict[str, float]:
    """The record's scalar values as Python floats."""
    return {name: float(value) for name, value in record.values.items() if getattr(value, "ndim", None) == 0}
