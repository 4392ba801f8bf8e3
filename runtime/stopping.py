"""Stops all processes of a run together after a signal to one of them."""

from __future__ import annotations

import logging
import signal
import time
from typing import Any

import numpy as np
import tensorflow as tf

from utils.hooks.hook import Hook, StepRecord
from utils.hooks.preemption import PreemptionHook
from utils.hvd_utils import Communicator

VOTE = "stop_vote"
_log = logging.getLogger(__name__)


class Stopping(Hook):
    """Requests a stop in all processes at once: after the same step in training, elsewhere when ``agree`` returns true.

    Args:
        preemption: Knows the signals that this process received.
        communicator: The processes.
    """

    def __init__(self, preemption: PreemptionHook, communicator: Communicator) -> None:
        self._preemption = preemption
        self._communicator = communicator
        self._agreed = False
        self.step = 0
        """The last training step of this process."""
        self._began: float | None = None

    @property
    def wants_stop(self) -> bool:
        return self._preemption.wants_stop if self._communicator.size == 1 else self._agreed

    @property
    def asked_here(self) -> Hook:
        """Requests a stop as soon as this process receives a signal; for loops without other processes."""
        return self._preemption

    def ends_run(self) -> bool:
        """Returns whether any process received a signal, and logs which; all processes have to call it."""
        if not self.agree():
            return False
        names = self._communicator.gather(self._preemption.received)
        name = next((signal.Signals(name).name for name in names if name is not None), "a signal")
        _log.warning("stopped by %s: rerun the same command to continue", name)
        return True

    def vote(self) -> Any:
        """A scalar in a training graph: 1 if this process received a signal before the step, else 0."""
        asked = tf.numpy_function(lambda: np.float32(self._preemption.wants_stop), [], tf.float32)
        return tf.ensure_shape(asked, [])

    def agree(self) -> bool:
        """Returns whether any process received a signal; all processes have to call it."""
        self._agreed = self._agreed or self._communicator.any(self._preemption.wants_stop)
        return self.wants_stop

    @property
    def seconds_in_step(self) -> float:
        """Seconds since this process began its training step; 0 between steps."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def before_step(self) -> None:
        self._began = time.monotonic()

    def after_step(self, record: StepRecord) -> None:
        self._began = None
        self.step = record.step
        self._agreed = self._agreed or bool(record.values.get(VOTE, np.zeros(1)).any())

    def end(self) -> None:
        self._began = None
