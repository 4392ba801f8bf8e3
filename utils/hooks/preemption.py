"""Ends a run cleanly when the machine is about to be preempted."""

from __future__ import annotations

import logging
import signal
from types import FrameType, TracebackType
from typing import Any

from utils.hooks.hook import Hook

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class PreemptionHook(Hook):
    """Asks the loop to stop after the step in which SIGTERM, SIGUSR1 or a first Ctrl-C arrived.

    As a context manager it restores the former handlers on exit. After a first Ctrl-C it restores that handler at once,
    so that a second one ends the program. Signals that are ignored on entry, like Ctrl-C in a shell's background jobs,
    stay ignored.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> PreemptionHook:
        heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self._former = {number: signal.signal(number, self._receive) for number in heeded}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @property
    def wants_stop(self) -> bool:
        return self.received is not None

    def pass_on(self, name: str) -> None:
        """Takes over a signal that another process of the run received, by its name."""
        if self.received is None:
            self.received = signal.Signals[name]

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        logging.getLogger(__name__).warning("%s received: stopping after this step", self.received.name)
        if self.received is signal.SIGINT:
            signal.signal(signal.SIGINT, self._former[signal.SIGINT])
