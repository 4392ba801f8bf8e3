"""The processes of one machine exchange bytes through a socket and arrays through shared memory (no TF).

All processes call the same methods in the same order. Each owns a memory area that the others read: it writes there
what they need, all meet, and they read. An area without a name leaves no file behind, however the processes end, and
does not count against the size of ``/dev/shm``, which is 64 MB in a container by default.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.errors import RunError
from utils.system.meeting import Door, connect_locally, enter, local_listener

CONNECT_TIMEOUT_S = 120.0  # the processes may load libraries from a slow disk first
LOST = "another process of the run has ended, so this one ends too"
LAST_WORDS_S = 3.0  # time for the watchdog to name the process that has ended
_ALIGNMENT = 64  # bytes; TensorFlow takes over arrays that begin at a multiple of it without copying them
_BLOCK = 1 << 18  # bytes to add up at a time; they stay in the processor's cache
_OWN_REFERENCES = 3  # in the table of kept arrays, in a variable, and as the argument of the function that counts
_LENGTH = struct.Struct("<Q")

Array = np.ndarray[Any, np.dtype[Any]]


class Neighbours:
    """Connected processes of one machine and one user; rank 0 passes on what each of them says.

    Args:
        rank: Number of this process.
        size: Number of processes.
        job: Name of the launch, the same in its processes and in no other launch.
        timeout_s: Seconds to wait for the others.

    Raises:
        RunError: A process did not connect in time.
    """

    def __init__(self, rank: int, size: int, job: str, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        self.rank, self.size = rank, size
        found: dict[int, socket.socket] = {}
        if rank == 0:
            door = Door([local_listener(job)], job.encode(), range(1, size), found.__setitem__)
            door.wait(timeout_s)
            door.close()
        else:
            until = time.monotonic() + timeout_s
            hub = enter(lambda: connect_locally(job), job.encode(), rank, until, lambda: False)
            found = {0: hub} if hub is not None else {}
        if len(found) < (size - 1 if rank == 0 else 1):
            raise RunError(
                f"rank {rank}: not all {size} processes were connected within {timeout_s:g} s; "
                "they have to run on one machine"
            )
        self._peers = [found[number] for number in sorted(found)]

    def gather(self, content: bytes) -> list[bytes]:
        """The contents of all processes by rank.

        Raises:
            RunError: Another process has ended.
        """
        try:
            if self.rank != 0:
                _send(self._peers[0], content)
                return [_receive(self._peers[0]) for _ in range(self.size)]
            contents = [content, *map(_receive, self._peers)]
            for peer in self._peers:
                peer.sendall(b"".join(_LENGTH.pack(len(each)) + each for each in contents))
            return contents
        except OSError as error:
            time.sleep(LAST_WORDS_S)
            raise RunError(LOST) from error

    def meet(self, purpose: bytes = b"") -> None:
        """Waits for all processes.

        Raises:
            RunError: They came for different purposes, or one has ended.
        """
        purposes = self.gather(purpose)
        if set(purposes) != {purpose}:
            raise RunError(f"the processes of the run exchange different things: {purposes}")

    def close(self) -> None:
        """Closes the connections."""
        for peer in self._peers:
            peer.close()


def _send(peer: socket.socket, content: bytes) -> None:
    peer.sendall(_LENGTH.pack(len(content)) + content)


def _receive(peer: socket.socket) -> bytes:
    (length,) = _LENGTH.unpack(_read(peer, _LENGTH.size))
    return bytes(_read(peer, length))


def _read(peer: socket.socket, length: int) -> bytearray:
    content = bytearray(length)
    rest = memoryview(content)
    while rest:
        count = peer.recv_into(rest)
        if not count:
            raise ConnectionResetError("the connection was closed")
        rest = rest[count:]
    return content


@dataclass(frozen=True)
class _Layout:
    """Places of arrays in a memory area; each begins at a multiple of the alignment."""

    arrays: Sequence[Array]
    """The arrays as bytes."""
    offsets: Sequence[int]
    length: int

    @staticmethod
    def of(arrays: Sequence[Array]) -> _Layout:
        contents = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays]
        ends = np.cumsum([_aligned(content.size) for content in contents], dtype=np.int64).tolist()
        return _Layout(contents, [0, *ends[:-1]], ends[-1] if ends else 0)

    def overlaps(self, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """Each array that reaches into a range, with the part of the range: (array, begin, end)."""
        for number, (offset, content) in enumerate(zip(self.offsets, self.arrays, strict=True)):
            begin, end = max(offset, low), min(offset + content.size, high)
            if begin < end:
                yield number, begin, end


class SharedMemory:
    """Arrays that the processes of one machine exchange.

    Args:
        neighbours: The processes.
    """

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._capacity = -1
        self._areas: list[Array] = []
        self._kept: dict[int, Array] = {}

    def mean(self, arrays: Sequence[Array]) -> list[Array]:
        """The means of floating-point arrays over the processes, the same bits in each.

        Each process adds up one part of all arrays, in the order of ranks.
        """
        rank, size = self._neighbours.rank, self._neighbours.size
        layout = _Layout.of(arrays)
        self._make_room(layout.length)
        share = self._share(layout.length)
        bounds = [(min(r * share, layout.length), min((r + 1) * share, layout.length)) for r in range(size)]
        low, high = bounds[rank]
        for owner in {*range(size)} - {rank}:
            for number, begin, end in layout.overlaps(*bounds[owner]):
                offset = layout.offsets[number]
                self._areas[rank][begin:end] = layout.arrays[number][begin - offset : end - offset]
        self._neighbours.meet(f"{len(arrays)} arrays of {sum(each.size for each in layout.arrays)} bytes".encode())
        for number, begin, end in layout.overlaps(low, high):
            for start in range(begin, end, _BLOCK):
                self._add_up(layout, number, (start, min(start + _BLOCK, end)), low, arrays[number].dtype)
        self._neighbours.meet()
        found = self._result(layout.length)
        for owner, (begin, end) in enumerate(bounds):
            found[begin:end] = self._areas[owner][self._capacity :][: end - begin]
        return [
            found[offset : offset + content.size].view(array.dtype).reshape(array.shape)
            for array, content, offset in zip(arrays, layout.arrays, layout.offsets, strict=True)
        ]

    def first(self, array: Array) -> Array:
        """Rank 0's array; those of the others have the same shape and type."""
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self._make_room(content.size)
        if self._neighbours.rank == 0:
            self._areas[0][: content.size] = content
        self._neighbours.meet(f"rank 0's {content.size} bytes".encode())
        found = self._areas[0][: content.size].copy()
        self._neighbours.meet()  # the next exchange overwrites the area
        return found.view(array.dtype).reshape(array.shape)

    def _add_up(self, layout: _Layout, number: int, part: tuple[int, int], low: int, kind: np.dtype[Any]) -> None:
        """Writes the mean of a part of an array into the area of this process, whose results begin at ``low``."""
        rank, (begin, end), offset = self._neighbours.rank, part, layout.offsets[number]
        own = layout.arrays[number][begin - offset : end - offset]
        parts = [(own if r == rank else area[begin:end]).view(kind) for r, area in enumerate(self._areas)]
        total = self._areas[rank][self._capacity :][begin - low : end - low].view(kind)
        np.add(parts[0], parts[1], out=total)
        for part_of_rank in parts[2:]:
            np.add(total, part_of_rank, out=total)
        np.divide(total, kind.type(len(parts)), out=total)

    def _result(self, length: int) -> Array:
        """Uninitialized bytes that begin at a multiple of the alignment.

        Many of them are those of an earlier result, if nothing refers to that any more: touching new memory for the
        first time takes longer than the exchange.
        """
        kept = self._kept.get(length)
        if kept is None or sys.getrefcount(kept) > _OWN_REFERENCES:
            kept = np.empty(length + _ALIGNMENT, np.uint8)
            if length >= _BLOCK:
                self._kept[length] = kept
        begin = -kept.ctypes.data % _ALIGNMENT
        return kept[begin : begin + length]

    def _share(self, length: int) -> int:
        """The most bytes of which one process computes the mean."""
        return _aligned(-(-length // self._neighbours.size))

    def _make_room(self, length: int) -> None:
        """Gives each process an area for ``length`` bytes to send and its share of the results."""
        if length <= self._capacity:
            return
        descriptor = os.memfd_create("exchange")
        size = length + self._share(length)
        os.ftruncate(descriptor, size)
        claims = self._neighbours.gather(f"{size} {os.getpid()} {descriptor}".encode())
        try:
            self._areas = [_mapped(claim.decode(), size) for claim in claims]
        except (OSError, ValueError) as error:
            raise RunError(f"the processes of the run cannot share memory: {error}") from error
        self._neighbours.meet()
        os.close(descriptor)
        self._capacity = length


def _mapped(claim: str, size: int) -> Array:
    """The area that a process has created."""
    claimed, process, number = map(int, claim.split())
    if claimed != size:
        raise ValueError(f"one needs {claimed} bytes and another {size}")
    descriptor = os.open(f"/proc/{process}/fd/{number}", os.O_RDWR)
    try:
        return np.frombuffer(mmap.mmap(descriptor, size), np.uint8)
    finally:
        os.close(descriptor)


def _aligned(length: int) -> int:
    """A length in bytes, rounded up to a multiple of the alignment."""
    return -(-length // _ALIGNMENT) * _ALIGNMENT
