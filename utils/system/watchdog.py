"""Detects that a process of a run has died or hangs and ends the others, whose collective operations would block.

The first process of each machine, its hub, is connected to the others of the machine from their first second on:
before TensorFlow is imported, and before the processes can exchange anything else. Once they can, the hubs of further
machines connect to rank 0. Both ends of a connection send heartbeats with their step. A closed connection means that a
process has ended; silence for the time-out means that it is frozen; if all processes stay in one training step for many
times as long, an exchange between them hangs. A process that ends with an error announces it
first, and the others end silently with its status. The same connections pass on a signal that asks one process to stop.
Imports no TensorFlow and works while TensorFlow computes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import EXIT_FAILED, EXIT_USAGE
from utils.hvd_utils import Communicator
from utils.local_communicator import Place
from utils.system.meeting import (
    INTRODUCTION_S,
    Address,
    Door,
    connect_locally,
    connect_to_any,
    enter,
    listeners_towards,
    local_listener,
    process_of,
)

_log = logging.getLogger(__name__)

LONGEST_BEAT_S = 1.0
MEETING_S = 20.0
"""Seconds that a process may start later than others, if the time-out for silence is shorter."""
FIRST_MEETING_S = 2.0
"""Seconds to wait for the others at once: they meet more quickly than while a large library is loaded."""
CONNECT_TIMEOUT_S = 30.0
LONGEST_STEP = 20.0
"""Time-outs for silence that a training step may take; a first step compiles or tries algorithms, which is slow."""
LAST_WORDS_S = 1.0  # time for a failing process to say why: a launcher ends all processes when one has ended
_LONGEST_MESSAGE = 256
_STARTING = -1
_SHORT_S = 0.01
_ADVICE = "the job ends; the newest checkpoint is intact, and the same command continues from it"


def _exit(status: int) -> None:
    logging.shutdown()
    os._exit(status)


class _Peer:
    """A connected process, and what it last told; ``rank`` is a guess until it has told it."""

    def __init__(self, rank: int, connection: socket.socket) -> None:
        self.rank = rank
        self.connection = connection
        self.heard = time.monotonic()
        self.step = _STARTING
        self.in_step_s = 0.0
        self.done = False
        self._process = process_of(connection)
        self._worked = -1

    @property
    def when(self) -> str:
        """The time of its last message, in steps."""
        if self.step == _STARTING:
            return "during its start"
        return f"after step {self.step} or in the next one" if self.step else "before its first step"

    def works(self) -> bool:
        """Returns whether a process of this machine that is still starting has worked since the last call.

        While a large library is loaded, no thread of Python runs, and the process is silent.
        """
        if self.step != _STARTING or self._process is None:
            return False
        before, self._worked = self._worked, _activity(self._process)
        return self._worked > before


@dataclass(frozen=True)
class Watched:
    """The process that a watchdog watches for.

    Attributes:
        asked: Returns the name of the signal that asked this process to stop, or None.
        stop: Called with the name of a signal that another process received, possibly more than once.
        end: Ends this process with a status.
    """

    asked: Callable[[], str | None]
    stop: Callable[[str], None]
    end: Callable[[int], None] = _exit


class Watchdog:
    """Watches the other processes of a run for the duration of a ``with`` block.

    Args:
        place: The place of this process among those of its launch, or None if the launcher does not tell it: then
            nothing is watched before ``join``.
        timeout_s: Seconds of silence after which a process counts as frozen.
        process: This process.
    """

    def __init__(self, place: Place | None, timeout_s: float, process: Watched) -> None:
        self._place = place
        self._rank = place.rank if place is not None else 0
        self._timeout_s = timeout_s
        self._beat_s = min(LONGEST_BEAT_S, timeout_s / 4)
        self._patience_s = max(timeout_s, MEETING_S)
        self._process = process
        self._step: Callable[[], int] = lambda: _STARTING
        self._in_step_s: Callable[[], float] = float
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._peers: tuple[_Peer, ...] = ()
        self._awaited: Callable[[], list[int]] = list
        self._doors: list[Door] = []
        self._stop_heard: str | None = None
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Watchdog:
        if self._place is not None and self._place.local_size > 1:
            self._meet(self._place)
            self._start("watchdog", self._watch)
            until = time.monotonic() + FIRST_MEETING_S
            while self._awaited() and time.monotonic() < until and not self._closing.is_set():
                time.sleep(_SHORT_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is not None:
            self.leave(EXIT_FAILED)
        self._close()

    def join(self, communicator: Communicator, step: Callable[[], int], in_step_s: Callable[[], float]) -> None:
        """Watches the processes of other machines, too; all processes have to call it at the same time.

        Args:
            communicator: The processes.
            step: Returns the last step of this process.
            in_step_s: Returns for how many seconds it has been in the next one, 0 if it does something else.
        """
        self._step, self._in_step_s, self._rank = step, in_step_s, communicator.rank
        alone = Place(communicator.rank, communicator.size, 0, 1, "")
        place = self._place or alone
        if communicator.size == place.local_size:
            return
        failures = [text for text in communicator.gather(self._span(communicator, place)) if text]
        if failures and communicator.rank == 0:
            _log.warning(
                "the processes of different machines cannot watch each other, so nothing notices a frozen one: %s",
                failures[0],
            )
        if not failures and place.local_size == 1:
            self._start("watchdog", self._watch)

    def leave(self, status: int) -> None:
        """Tells the others that this process ends, and with which status."""
        if status not in (EXIT_FAILED, EXIT_USAGE):
            self._send_all({"done": True})
        elif self._mark_closing():
            self._send_all({"end": status})

    def _meet(self, place: Place) -> None:
        """Connects the processes of this machine."""
        secret, first = place.job.encode(), place.rank - place.local_rank
        if place.local_rank == 0:
            try:
                listener = local_listener(place.job)
            except OSError as error:
                self._fail(f"rank {place.rank}: the processes of this machine cannot meet: {error.strerror}")
                return
            others = range(1, place.local_size)
            door = Door([listener], secret, others, lambda number, guest: self._add(first + number, guest))
            self._doors.append(door)
            self._awaited = lambda: [first + number for number in door.missing]
            return
        self._awaited = lambda: [] if self._peers else [first]
        until = time.monotonic() + self._patience_s

        def come_in() -> None:
            connection = enter(
                lambda: connect_locally(place.job), secret, place.local_rank, until, self._closing.is_set
            )
            if connection is not None:
                self._add(first, connection)

        self._start("introduction", come_in)

    def _span(self, communicator: Communicator, place: Place) -> str | None:
        """Connects the hubs of all machines to rank 0; returns why this failed for this process."""
        known = communicator.gather((socket.gethostname(), place.local_rank == 0))
        hubs = {rank: host for rank, (host, is_hub) in enumerate(known) if is_hub and rank}
        try:
            listeners, failure = listeners_towards(hubs.values()) if communicator.rank == 0 else [], None
        except OSError as error:
            listeners, failure = [], f"rank 0 has no address: {error}"
        addresses = [listener.getsockname()[:2] for listener in listeners]
        offer = communicator.broadcast((addresses, secrets.token_bytes(32)))
        if failure or not offer[0]:
            return failure
        if communicator.rank == 0:
            door = Door(listeners, offer[1], hubs, self._add)
            self._doors.append(door)
            complete = door.wait(CONNECT_TIMEOUT_S)
            door.close()
            return None if complete else f"no connection from the machines of ranks {door.missing}"
        return self._reach(offer, communicator.rank) if communicator.rank in hubs else None

    def _reach(self, offer: tuple[list[Address], bytes], rank: int) -> str | None:
        """Connects this hub to rank 0; returns why this failed."""
        addresses, secret = offer
        until = time.monotonic() + CONNECT_TIMEOUT_S
        connection = enter(lambda: connect_to_any(addresses), secret, rank, until, self._closing.is_set)
        if connection is None:
            return f"rank {rank} does not reach rank 0 at {', '.join(address for address, _ in addresses)}"
        self._add(0, connection)
        return None

    def _add(self, rank: int, connection: socket.socket) -> None:
        peer = _Peer(rank, connection)
        if self._closing.is_set():
            connection.close()
            return
        with self._lock:
            self._peers += (peer,)
        self._start(f"of-{rank}", lambda: self._read(peer))

    def _start(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _close(self) -> None:
        self._closing.set()
        for door in self._doors:
            door.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)  # ends the reading threads
        for thread in self._threads:
            thread.join(INTRODUCTION_S)
        for peer in self._peers:
            peer.connection.close()

    def _read(self, peer: _Peer) -> None:
        """Handles the messages of a peer until it has ended."""
        lines = peer.connection.makefile("rb")
        while True:
            try:
                line = lines.readline(_LONGEST_MESSAGE)
            except (OSError, ValueError):
                line = b""
            if self._closing.is_set():
                return
            message = _message(line)
            if "done" in message:
                peer.done = True
                return
            if "end" in message:
                self._follow(message["end"])
                return
            if not line:
                self._fail(f"rank {peer.rank}: its process has ended, {peer.when}")
                return
            peer.heard = time.monotonic()
            peer.rank, peer.step = message.get("rank", peer.rank), message.get("step", peer.step)
            peer.in_step_s = message.get("in_step_s", 0.0)
            if message.get("stop"):
                self._stop_heard = message["stop"]
                self._process.stop(message["stop"])

    def _watch(self) -> None:
        """Sends heartbeats and checks those of the others."""
        since = last = time.monotonic()
        while not self._closing.wait(self._beat_s):
            now = time.monotonic()
            if now - last > self._timeout_s / 2:  # this process itself was frozen
                since += now - last
                for peer in self._peers:
                    peer.heard = max(peer.heard, now - self._timeout_s / 2)  # its messages are still to be read
            last = now
            stop = self._process.asked() or (self._stop_heard if self._doors else None)
            step, in_step_s = self._step(), self._in_step_s()
            self._send_all({"rank": self._rank, "step": step, "in_step_s": in_step_s, "stop": stop})
            if reason := self._silence(now, since) or self._hang(step, in_step_s):
                self._fail(reason)
                return

    def _silence(self, now: float, since: float) -> str | None:
        """Returns a sentence about a process that is frozen or has not come."""
        for peer in self._peers:
            if peer.works():
                peer.heard = now
            if not peer.done and now - peer.heard > self._timeout_s:
                return f"rank {peer.rank}: no sign of life for {self._timeout_s:g} s (--stall_timeout_s), {peer.when}"
        if now - since > self._patience_s and (awaited := self._awaited()):
            return f"rank {awaited[0]}: has not started within {self._patience_s:g} s (--stall_timeout_s)"
        return None

    def _hang(self, step: int, in_step_s: float) -> str | None:
        """Returns a sentence, on rank 0, if all processes have been in the same training step for too long."""
        longest_s = LONGEST_STEP * self._timeout_s
        still = [in_step_s, *(peer.in_step_s for peer in self._peers if not peer.done)]
        if self._rank or min(still) <= longest_s:
            return None
        return (
            f"step {step + 1}: no process has finished it within {longest_s:g} s ({LONGEST_STEP:g} times "
            "--stall_timeout_s), so an exchange between them hangs (NCCL_DEBUG=INFO shows how NCCL connects)"
        )

    def _fail(self, reason: str) -> None:
        """Logs the reason once, makes the others end silently, and ends this process."""
        if not self._mark_closing():
            return
        _log.critical("%s; %s", reason, _ADVICE)
        self._send_all({"end": EXIT_FAILED})
        self._process.end(EXIT_FAILED)

    def _follow(self, status: int) -> None:
        """Ends this process and passes on the status of another one, which ends with an error and logs the reason."""
        if not self._mark_closing():
            return
        self._send_all({"end": status})
        time.sleep(LAST_WORDS_S)
        self._process.end(status)

    def _mark_closing(self) -> bool:
        """Marks this process as ending; returns False if it was marked before."""
        with self._lock:
            if self._closing.is_set():
                return False
            self._closing.set()
            return True

    def _send_all(self, message: dict[str, Any]) -> None:
        content = json.dumps(message).encode() + b"\n"
        for peer in self._peers:
            with contextlib.suppress(OSError):  # the reading thread notices
                peer.connection.sendall(content)


def _message(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _activity(process: int) -> int:
    """A number that grows while a process computes or reads its files; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(fields[place]) for place in (9, 11, 12))  # pages read, CPU time of its own and of the system
