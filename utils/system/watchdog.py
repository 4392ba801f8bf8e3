"""Detects that a process of a run has died or hangs and ends the others, whose collective operations would block.

Rank 0 listens. Every other rank sends it a heartbeat with its step, and rank 0 answers. A closed connection means that
a process has ended; silence for the time-out means that it is frozen. A process that ends with an error announces it
first, and the others end silently with its status. The same connection passes on a signal that asks one process to
stop. Imports no TensorFlow and works while TensorFlow computes.
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
from dataclasses import dataclass, field
from typing import Any

from utils.errors import EXIT_FAILED, EXIT_USAGE, UsageError
from utils.hvd_utils import Communicator

_log = logging.getLogger(__name__)

LONGEST_BEAT_S = 1.0
CONNECT_TIMEOUT_S = 10.0
LAST_WORDS_S = 1.0  # time for a failing process to say why: a launcher ends all processes when one has ended
_ADVICE = "the job ends; the newest checkpoint is intact, and the same command continues from it"


def _exit(status: int) -> None:
    logging.shutdown()
    os._exit(status)


@dataclass
class Pulse:
    """The state that a process sends to the others."""

    step: int = 0
    stop: str | None = None
    """Name of the signal that asked the process to stop."""


@dataclass
class _Peer:
    rank: int
    heard: float
    step: int = 0
    done: bool = False
    stream: Any = field(repr=False, default=None)


class Watchdog:
    """Watches the other processes of a run for the duration of a ``with`` block.

    Args:
        communicator: The processes; a single process has nothing to watch.
        timeout_s: Seconds of silence after which a process counts as frozen.
        pulse: Returns the state of this process; called at every heartbeat.
        on_stop: Called with the name of a signal that another process received, possibly more than once.
        end: Ends this process with a status.
    """

    def __init__(
        self,
        communicator: Communicator,
        timeout_s: float,
        pulse: Callable[[], Pulse],
        on_stop: Callable[[str], None],
        end: Callable[[int], None] = _exit,
    ) -> None:
        self._rank, self._size = communicator.rank, communicator.size
        self._communicator = communicator
        self._timeout_s = timeout_s
        self._beat_s = min(LONGEST_BEAT_S, timeout_s / 4)
        self._pulse = pulse
        self._on_stop = on_stop
        self._end = end
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._peers: dict[int, _Peer] = {}
        self._stop_heard: str | None = None
        self._closers: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Watchdog:
        if self._size == 1:
            return self
        listener = self._listen() if self._rank == 0 else None
        where = self._communicator.broadcast(listener and self._address(listener))
        try:
            if listener is not None:
                self._accept_all(listener)
            else:
                self._connect(*where)
            failure = None
        except OSError as error:
            failure = f"rank {self._rank}: {error}"
        failures = [text for text in self._communicator.gather(failure) if text]
        if failures:
            self._close()
            if self._rank == 0:
                _log.warning("the processes cannot watch each other, so nothing notices a frozen one: %s", failures[0])
        else:
            self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if self._size == 1:
            return
        if kind is None:
            self._communicator.barrier()  # rank 0 may still be writing, and a launcher ends all processes when one ends
            self._send_all({"done": True})
        elif self._mark_closing():
            self._send_all({"end": EXIT_USAGE if issubclass(kind, UsageError) else EXIT_FAILED})
        self._closing.set()
        self._close()

    def _listen(self) -> socket.socket:
        listener = socket.create_server(("", 0), backlog=self._size)
        listener.settimeout(CONNECT_TIMEOUT_S)
        self._closers.append(listener)
        return listener

    def _address(self, listener: socket.socket) -> tuple[str, int, str]:
        self._token = secrets.token_hex(16)
        return socket.gethostname(), listener.getsockname()[1], self._token

    def _accept_all(self, listener: socket.socket) -> None:
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while len(self._peers) < self._size - 1:
            if time.monotonic() > deadline:
                missing = sorted(set(range(1, self._size)) - set(self._peers))
                raise OSError(f"no connection from ranks {', '.join(map(str, missing))}")
            connection, _ = listener.accept()
            connection.settimeout(CONNECT_TIMEOUT_S)
            stream = connection.makefile("rwb")
            hello = _message(stream.readline())
            if hello.get("token") != self._token or hello.get("rank") not in range(1, self._size):
                connection.close()
                continue
            self._add(hello["rank"], connection, stream)

    def _connect(self, host: str, port: int, token: str) -> None:
        address = "localhost" if host == socket.gethostname() else host
        connection = socket.create_connection((address, port), timeout=CONNECT_TIMEOUT_S)
        stream = connection.makefile("rwb")
        self._add(0, connection, stream)
        self._send(self._peers[0], {"rank": self._rank, "token": token})

    def _add(self, rank: int, connection: socket.socket, stream: Any) -> None:
        self._closers.append(connection)
        self._peers[rank] = _Peer(rank=rank, heard=time.monotonic(), stream=stream)

    def _start(self) -> None:
        for connection in self._closers:
            connection.settimeout(None)
        for peer in self._peers.values():
            peer.heard = time.monotonic()
            self._threads.append(threading.Thread(target=self._read, args=(peer,), name=f"of-{peer.rank}", daemon=True))
        self._threads.append(threading.Thread(target=self._watch, name="watchdog", daemon=True))
        for thread in self._threads:
            thread.start()

    def _close(self) -> None:
        for connection in self._closers:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # ends the reading threads
        for thread in self._threads:
            thread.join(CONNECT_TIMEOUT_S)
        for stream in (*(peer.stream for peer in self._peers.values()), *self._closers):
            with contextlib.suppress(OSError):
                stream.close()

    def _read(self, peer: _Peer) -> None:
        """Handles the messages of a peer until it has ended."""
        while True:
            try:
                line = peer.stream.readline()
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
                self._fail(f"rank {peer.rank}: its process has ended, after step {peer.step} or in the next one")
                return
            peer.heard, peer.step = time.monotonic(), message.get("step", peer.step)
            if message.get("stop"):
                self._stop_heard = message["stop"]
                self._on_stop(message["stop"])

    def _watch(self) -> None:
        """Sends heartbeats and checks those of the others."""
        last = time.monotonic()
        while not self._closing.wait(self._beat_s):
            now = time.monotonic()
            if now - last > self._timeout_s / 2:  # this process itself was frozen
                for peer in self._peers.values():
                    peer.heard = now
            last = now
            pulse = self._pulse()
            stop = pulse.stop or (self._stop_heard if self._rank == 0 else None)
            self._send_all({"step": pulse.step, "stop": stop})
            silent = [p for p in self._peers.values() if not p.done and now - p.heard > self._timeout_s]
            if silent:
                peer = silent[0]
                self._fail(
                    f"rank {peer.rank}: no sign of life for {self._timeout_s:g} s (--stall_timeout_s), after step "
                    f"{peer.step} or in the next one"
                )
                return

    def _fail(self, reason: str) -> None:
        """Logs the reason once, makes the others end silently, and ends this process."""
        if not self._mark_closing():
            return
        _log.critical("%s; %s", reason, _ADVICE)
        self._send_all({"end": EXIT_FAILED})
        self._end(EXIT_FAILED)

    def _follow(self, status: int) -> None:
        """Ends this process and passes on the status of another one, which ends with an error and logs the reason."""
        if not self._mark_closing():
            return
        self._send_all({"end": status})
        time.sleep(LAST_WORDS_S)
        self._end(status)

    def _mark_closing(self) -> bool:
        """Marks this process as ending; returns False if it was marked before."""
        with self._lock:
            if self._closing.is_set():
                return False
            self._closing.set()
            return True

    def _send_all(self, message: dict[str, Any]) -> None:
        for peer in self._peers.values():
            self._send(peer, message)

    def _send(self, peer: _Peer, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError, ValueError):  # the reading thread notices
            peer.stream.write(json.dumps(message).encode() + b"\n")
            peer.stream.flush()


def _message(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
