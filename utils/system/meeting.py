"""The processes of a run find each other and connect to one of them, the hub; strangers stay outside (no TF).

On one machine they meet at an address of Linux that only processes of the same user may use: the kernel says who is at
the other end. Across machines, the hub listens on the addresses by which it reaches the others. In both cases a process
proves that it knows the secret of the run before anything that it says is read. The hub takes connections only until
all processes are in. It talks to several at a time, and nobody may take long: a stranger's silence delays no one.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence

INTRODUCTION_S = 5.0  # time to prove one's membership; who is slower may try again
_POLL_S = 0.05
_MOST_WAITING = 64
"""Connections at a time whose other ends are unknown; the oldest makes room for one more."""
_NONCE = 32
_NUMBER = struct.Struct(">I")
_CREDENTIALS = struct.Struct("3i")  # process, user and group at the other end of a socket
_PROOF = "sha256"
_PROOF_BYTES = 32

Address = tuple[str, int]


class Door:
    """Lets the expected processes in, in a thread of its own, and closes behind the last.

    Args:
        listeners: Sockets to accept connections from; the door closes them.
        secret: The secret of the run.
        expected: Numbers of the processes to let in, each once.
        welcome: Called in a thread with the number and the connection of each.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        secret: bytes,
        expected: Collection[int],
        welcome: Callable[[int, socket.socket], None],
    ) -> None:
        self._listeners, self._secret, self._welcome = listeners, secret, welcome
        self._missing = set(expected)
        self._unknown = set(expected)  # nobody has proved yet to be one of these
        self._waiting: dict[socket.socket, None] = {}  # in the order of their arrival
        self._lock = threading.Lock()
        self._shut = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="door", daemon=True)
        self._thread.start()

    @property
    def missing(self) -> list[int]:
        """The numbers of those that are not in yet."""
        with self._lock:
            return sorted(self._missing)

    def wait(self, timeout_s: float) -> bool:
        """Waits until all processes are in, and returns whether they are."""
        self._thread.join(timeout_s)
        return not self.missing

    def close(self) -> None:
        """Ends what is under way; processes that are in stay connected."""
        self._shut.set()
        self._thread.join()

    def _serve(self) -> None:
        while self.missing and not self._shut.is_set():
            for listener in select.select(self._listeners, [], [], _POLL_S)[0]:
                with contextlib.suppress(OSError):  # the other end has closed already
                    self._ask(listener.accept()[0])
        for listener in self._listeners:
            listener.close()
        with self._lock:
            waiting = list(self._waiting)
        for connection in waiting:
            _shut_down(connection)

    def _ask(self, connection: socket.socket) -> None:
        if not _is_of_this_user(connection):
            connection.close()
            return
        with self._lock:
            oldest = next(iter(self._waiting)) if len(self._waiting) >= _MOST_WAITING else None
            self._waiting[connection] = None
            if oldest is not None:
                del self._waiting[oldest]
        if oldest is not None:
            _shut_down(oldest)
        threading.Thread(target=self._admit, args=(connection,), name="introduction", daemon=True).start()

    def _admit(self, connection: socket.socket) -> None:
        try:
            number = _number_of(connection, self._secret)
        except OSError:
            number = -1
        with self._lock:
            self._waiting.pop(connection, None)
            expected = number in self._unknown
            self._unknown.discard(number)
        if not expected:
            connection.close()
            return
        connection.settimeout(None)
        self._welcome(number, connection)
        with self._lock:
            self._missing.discard(number)


def enter(
    connect: Callable[[], socket.socket], secret: bytes, number: int, until: float, given_up: Callable[[], bool]
) -> socket.socket | None:
    """Connects to the hub and proves membership; tries again until a time, or until it is given up.

    Args:
        connect: Returns a connection to the hub.
        secret: The secret of the run.
        number: Number of this process among those of the meeting.
        until: Time of ``time.monotonic``.
        given_up: Returns whether to stop trying.

    Returns:
        The connection, or None.
    """
    while time.monotonic() < until and not given_up():
        try:
            connection = connect()
        except OSError:  # the hub does not listen yet
            time.sleep(_POLL_S)
            continue
        try:
            _introduce(connection, secret, number)
            connection.settimeout(None)
            return connection
        except OSError:
            connection.close()
            time.sleep(_POLL_S)
    return None


def local_listener(job: str) -> socket.socket:
    """The socket at which the processes of a job on this machine meet.

    Raises:
        OSError: Another process listens there.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(_local_address(job))
    except OSError:
        listener.close()
        raise
    listener.listen()
    return listener


def connect_locally(job: str) -> socket.socket:
    """A connection to the process of this user that listens for a job on this machine.

    Raises:
        OSError: There is none.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(INTRODUCTION_S)
        connection.connect(_local_address(job))
        if not _is_of_this_user(connection):
            raise PermissionError("the address belongs to another user")
    except OSError:
        connection.close()
        raise
    return connection


def listeners_towards(hosts: Iterable[str]) -> list[socket.socket]:
    """Sockets on the addresses by which this machine reaches others, or else on that of its own name.

    Raises:
        OSError: There is no such address.
    """
    addresses = dict.fromkeys(filter(None, map(_own_address_towards, hosts)))
    if not addresses:
        addresses = dict.fromkeys([str(socket.getaddrinfo(socket.gethostname(), None)[0][4][0])])
    return [
        socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        for address in addresses
    ]


def connect_to_any(addresses: Sequence[Address]) -> socket.socket:
    """A connection to the first address that answers.

    Raises:
        OSError: None does.
    """
    for address in addresses[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection(address, timeout=INTRODUCTION_S)
    return socket.create_connection(addresses[-1], timeout=INTRODUCTION_S)


def _shut_down(connection: socket.socket) -> None:
    """Ends the thread that reads from a connection."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def process_of(connection: socket.socket) -> int | None:
    """The process at the other end of a connection within this machine; None for another machine's."""
    return _credentials(connection)[0] if connection.family == socket.AF_UNIX else None


def _local_address(job: str) -> str:
    # In Linux's abstract namespace: no file, freed by the kernel. All users see the names, so a name tells no secret.
    return f"\0processes-{os.getuid()}-{hashlib.sha256(job.encode()).hexdigest()}"


def _own_address_towards(host: str) -> str:
    """The address of this machine on the route to a host; "" if it has none. No packet is sent."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return ""


def _is_of_this_user(connection: socket.socket) -> bool:
    return connection.family != socket.AF_UNIX or _credentials(connection)[1] == os.getuid()


def _credentials(connection: socket.socket) -> tuple[int, int, int]:
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, group = _CREDENTIALS.unpack(content)
    return process, user, group


def _number_of(connection: socket.socket, secret: bytes) -> int:
    """The number of the process at the other end, which both ends have proved to each other.

    Raises:
        OSError: The other end is a stranger, too slow, or gone.
    """
    until = time.monotonic() + INTRODUCTION_S
    nonce = secrets.token_bytes(_NONCE)
    connection.settimeout(INTRODUCTION_S)
    connection.sendall(nonce)
    said = _read(connection, _NONCE + _NUMBER.size, until)
    if not hmac.compare_digest(_read(connection, _PROOF_BYTES, until), _proof(secret, b"guest", nonce, said)):
        raise PermissionError("a stranger")
    connection.sendall(_proof(secret, b"host", nonce, said))
    return int(_NUMBER.unpack(said[_NONCE:])[0])


def _introduce(connection: socket.socket, secret: bytes, number: int) -> None:
    """The guest's side of ``_number_of``."""
    until = time.monotonic() + INTRODUCTION_S
    nonce = _read(connection, _NONCE, until)
    said = secrets.token_bytes(_NONCE) + _NUMBER.pack(number)
    connection.sendall(said + _proof(secret, b"guest", nonce, said))
    if not hmac.compare_digest(_read(connection, _PROOF_BYTES, until), _proof(secret, b"host", nonce, said)):
        raise PermissionError("a stranger")


def _proof(secret: bytes, side: bytes, nonce: bytes, said: bytes) -> bytes:
    return hmac.digest(secret, side + nonce + said, _PROOF)


def _read(connection: socket.socket, length: int, until: float) -> bytes:
    """Exactly so many bytes.

    Raises:
        OSError: They did not come in time.
    """
    content = b""
    while len(content) < length:
        connection.settimeout(max(0.001, until - time.monotonic()))
        more = connection.recv(length - len(content))
        if not more:
            raise ConnectionResetError("the connection was closed")
        content += more
    return content
