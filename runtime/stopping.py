"""When the processes of a run stop together, because a signal asked one of them to."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import tensorflow as tf

from utils.hooks.hook import Hook, StepRecord
from utils.hooks.preemption import PreemptionHook
from utils.hvd_utils import Communicator

VOTE = "stop_vote"


class Stopping(Hook):
    """Wants to stop where all processes do: in training after the same step, elsewhere where ``agree`` says so.

    Args:
        preemption: Knows of the signals that this process got.
        communicator: The processes.
    """

    def __init__(self, preemption: PreemptionHook, communicator: Communicator) -> None:
        self._preemption = preemption
        self._communicator = communicator
        self._agreed = False
        self.step = 0
        """The training step that this process has done last."""

    @property
    def wants_stop(self) -> bool:
        return self._preemption.wants_stop if self._communicator.size == 1 else self._agreed

    @property
    def asked_here(self) -> Hook:
        """Wants to stop as soon as this process knows of a signal, for loops that nobody else waits in."""
        return self._preemption

    @property
    def signal_name(self) -> str:
        """The signal, once the processes have agreed."""
        names = self._communicator.gather(self._preemption.received)
        return next((signal.Signals(name).name for name in names if name is not None), "a signal")

    def vote(self) -> Any:
        """A scalar of a training graph: 1 where this process was asked to stop before the step, else 0."""
        asked = tf.numpy_function(lambda: np.float32(self._preemption.wants_stop), [], tf.float32)
        return tf.ensure_shape(asked, [])

    def agree(self) -> bool:
        """Whether any process was asked to stop; all processes have to ask."""
        self._agreed = self._agreed or self._communicator.any(self._preemption.wants_stop)
        return self.wants_stop

    def after_step(self, record: StepRecord) -> None:
        self.step = record.step
        self._agreed = self._agreed or bool(record.values.get(VOTE, np.zeros(1)).any())
