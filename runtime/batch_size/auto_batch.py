"""``--batch_size auto``: the largest batch that fits in memory, measured before a run is set up."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import multiprocessing
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.batch_size.search import LARGEST, AutoBatch, Fit, largest_fit
from runtime.batch_size.trial import OUTGREW, Ready, Share, serve
from runtime.setup.set_up import set_up
from runtime.task import Setup
from utils.checkpoints import find_checkpoint
from utils.config import ExperimentConfig
from utils.errors import RunError, UsageError
from utils.hooks.hook import Hook
from utils.hvd_utils import Communicator
from utils.system.machine import memory_gb
from utils.text import plural
from utils.weights.checkpoint_files import read_metadata

MARGIN = 0.1
"""The part of the free memory that stays free."""
_LOOK_EVERY_S = 0.2
_LAST_S = 10.0  # time for a process to end that has closed its pipe
_FLAG = "--batch_size auto"
_log = logging.getLogger(__name__)


class _StoppedError(Exception):
    """A signal asked the run to stop."""


def set_up_with_batch(
    config: ExperimentConfig, processes: Communicator, stop: Hook, *, writes: bool = True
) -> Setup | None:
    """``set_up`` with the batch that ``--batch_size auto`` asks for; None if a signal stopped the trials.

    The batch of a training that continues is that of its checkpoint. Several processes try batches at the same time,
    and all take the smallest one that any of them found.

    Args:
        config: The configuration as given.
        processes: The processes of the launch.
        stop: Knows whether a signal was received.
        writes: As in ``set_up``.

    Raises:
        UsageError: As ``set_up``; also if no batch fits, or the processes cannot share the batch of the checkpoint.
        RunError: As ``set_up``; also if a trial fails for another reason than memory.
    """
    if not config.data.auto_batch:
        return set_up(config, processes, writes=writes)
    found: AutoBatch | None = processes.broadcast(_so_far(config, processes) if processes.rank == 0 else None)
    if found is None:
        _log.info("%s: trying batches in a process of their own", _FLAG)
        measured = processes.gather(_measured(config, processes, stop))
        for outcome in measured:
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is None:
                return None
        found = min(measured, key=lambda outcome: outcome.batch)
    _log.info("%s: %s", _FLAG, found.told)
    data = dataclasses.replace(config.data, batch_size_per_replica=found.batch, auto_batch=False)
    setup = set_up(dataclasses.replace(config, data=data), processes, writes=writes)
    return dataclasses.replace(setup, auto_batch=found)


def _so_far(config: ExperimentConfig, processes: Communicator) -> AutoBatch | None:
    """The batch of a training that continues; None for all else, and where another program wrote the checkpoint.

    Raises:
        UsageError: The processes cannot share the batch of a step evenly.
    """
    run, steps = config.run, config.optimizer.accumulate_steps
    prefix = find_checkpoint(Path(run.checkpoint_dir)) if run.is_training and not run.is_benchmark else None
    images = None if prefix is None else (read_metadata(prefix) or {}).get("global_batch")
    if images is None:
        return None
    if images % (processes.size * steps):
        raise UsageError(
            f"{_FLAG}: {prefix} was trained with {plural(images, 'image')} a step, which {processes.size * steps} "
            "batches (processes times --accumulate_steps) cannot share; give a number"
        )
    return AutoBatch(
        batch=images // (processes.size * steps), told=f"as in the run so far, {plural(images, 'image')} a step"
    )


def _measured(config: ExperimentConfig, processes: Communicator, stop: Hook) -> AutoBatch | Exception | None:
    """The largest batch of this process, an error for all processes, or None if a signal came."""
    try:
        share = _share(processes)
        trials = _Trials(config, share, stop)
        try:
            return _search(trials, share)
        finally:
            trials.close()
    except _StoppedError:
        return None
    except (UsageError, RunError) as error:
        return error


def _share(processes: Communicator) -> Share:
    """The memory of this process: all that is free but the margin, divided among the processes of the host."""
    memory = memory_gb()
    hosts = processes.gather(socket.gethostname())  # all have looked before any of them takes some
    if memory is None:
        raise UsageError(f"{_FLAG}: this system does not tell how much memory is free; give a number")
    return Share(
        processes=processes.size,
        local_rank=processes.local_rank,
        threads=processes.threads,
        room=memory[1] * 1e9 * (1 - MARGIN) / hosts.count(socket.gethostname()),
    )


def _search(trials: _Trials, share: Share) -> AutoBatch:
    """Searches for the largest batch.

    Raises:
        UsageError: No batch fits.
    """
    ready = trials.ready()
    most = LARGEST if ready is None or ready.images is None else min(ready.images, LARGEST)
    fit = None if ready is None else largest_fit(trials.need, most, share.room)
    room = f"{share.room / 1e9:.2f} GB of memory that this process may take"
    if fit is None or ready is None:
        end = f" ({trials.end})" if trials.end else ""
        raise UsageError(
            f"{_FLAG}: no room for a batch of one image in the {room}{end}; end other programs, or give a smaller "
            "--image_size or another --arch"
        )
    return AutoBatch(batch=fit.batch, told=f"{plural(fit.batch, 'image')}, {_why(fit, ready, most, room)}")


def _why(fit: Fit, ready: Ready, most: int, room: str) -> str:
    """The reason for a batch, and what it needs."""
    need = "tried on the GPU" if ready.on_gpu else f"tried: {fit.need / 1e9:.2f} of the {room}"
    if fit.batch < most:
        return f"the most that fit; {need}"
    limit = "the largest batch that is tried" if ready.images is None or most < ready.images else "all that there are"
    return f"{limit}; {need}"


class _Trials:
    """Tries batches in child processes, in a new one after each that ended.

    Args:
        config: The configuration of the run.
        share: What a trial may take.
        stop: Knows whether a signal was received.

    Attributes:
        end: The signal that ended the last child, if not for want of memory, in words.
    """

    def __init__(self, config: ExperimentConfig, share: Share, stop: Hook) -> None:
        self._config, self._share, self._stop = config, share, stop
        self._child: _Child | None = None
        self.end = ""

    def ready(self) -> Ready | None:
        """Starts a child; returns what it says of the run, or None if its memory does not suffice for that."""
        self.close()
        self._child = _Child.begin(self._config, self._share)
        answer: Ready | None = self._answer(self._child)
        return answer

    def need(self, batch: int) -> float | None:
        """Tries a batch; returns the bytes that it needs, or None if it does not fit."""
        if self._child is None and self.ready() is None:
            return None
        child = self._child
        if child is None:
            return None
        with contextlib.suppress(OSError):  # it has ended; the answer tells
            child.pipe.send(batch)
        need: float | None = self._answer(child)
        _log.debug("%s: %d: %s", _FLAG, batch, "does not fit" if need is None else f"{need / 1e9:.2f} GB")
        if need is None:
            self.close()  # what the failed trial left behind would count for the next one
        return need

    def close(self) -> None:
        """Ends the child, if there is one."""
        if self._child is not None:
            self._child.close()
        self._child = None

    def _answer(self, child: _Child) -> Any:
        """The next answer; None if the child has ended without one.

        Raises:
            _StoppedError: A signal was received.
            UsageError: The run would refuse its flags.
            RunError: The run would fail before or in its first steps, or the child failed.
        """
        while not child.pipe.poll(_LOOK_EVERY_S):
            if self._stop.wants_stop:
                raise _StoppedError
        try:
            answer = child.pipe.recv()
        except (EOFError, OSError):
            self._child = None
            self._end_of(child.close(_LAST_S))
            return None
        if isinstance(answer, Exception):
            raise type(answer)(*(_of_auto(line) for line in answer.args))
        return answer

    def _end_of(self, status: int | None) -> None:
        """Notes how a child ended.

        Raises:
            RunError: It failed, and not for want of memory.
        """
        if status is not None and status >= 0 and status != OUTGREW:
            raise RunError(f"{_FLAG}: the process that tries batches ended with status {status}; give a number")
        by_memory = status in (OUTGREW, -signal.SIGKILL)
        self.end = "" if by_memory else f"the last trial ended by signal {-(status or 0)}"


def _of_auto(line: Any) -> str:
    """A line about the batch of a trial, whose number the user has not given."""
    return str(line).replace("--batch_size 1:", f"{_FLAG}:")


@dataclass(frozen=True, slots=True)
class _Child:
    """A process that serves trials, and the pipe to it."""

    process: Any
    pipe: Any

    @classmethod
    def begin(cls, config: ExperimentConfig, share: Share) -> _Child:
        context = multiprocessing.get_context("spawn")  # fork is unsafe next to threads
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, config, share), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends when the child does
        return cls(process, ours)

    def close(self, patience_s: float = 0.0) -> int | None:
        """Ends the process, at once or if it has not ended in a while; returns its status, negative for a signal."""
        self.process.join(patience_s)
        self.process.kill()
        self.process.join()
        self.pipe.close()
        status: int | None = self.process.exitcode
        return status
