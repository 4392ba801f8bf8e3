"""Reads zip archives whose entries are stored as they are, like those of ``torch.save`` (no TF).

Every number of an archive comes from whoever made it. Each is compared with the size of the file before it is used, so
reading takes no more memory than the file has bytes. Compression, encryption and other extensions do not exist here.

Source: PKWARE, APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from utils.text import printable

MOST_ENTRIES = 2**15
LARGEST_DIRECTORY = 8 * 2**20
_END, _END_64, _LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_LONGEST_COMMENT = 2**16 - 1
_LARGE = 2**32 - 1
_ENCRYPTED = 0x2041  # encrypted, strongly encrypted, or with an encrypted directory
_EXTRA_64 = 1


class ArchiveError(Exception):
    """A file is no archive of stored entries, or is damaged."""


@dataclass(frozen=True, slots=True)
class _Entry:
    header: int
    size: int
    crc: int


class StoredArchive:
    """The entries of an archive by name; names are bytes, as they need not be text.

    Args:
        path: The file.

    Raises:
        ArchiveError: It is damaged, or an entry is compressed or encrypted.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._bytes = file.seek(0, os.SEEK_END)
            listed = list(_entries(_directory(file, self._bytes)))
        self._entries: Mapping[bytes, _Entry] = dict(listed)
        if len(self._entries) < len(listed):
            raise ArchiveError("it has two entries of one name")
        if sum(entry.size for entry in self._entries.values()) > self._bytes:
            raise ArchiveError("its entries are larger than the file")

    @property
    def names(self) -> tuple[bytes, ...]:
        """The names of all entries."""
        return tuple(self._entries)

    def size(self, name: bytes) -> int:
        """The size of an entry in bytes; raises ``ArchiveError`` if there is none of that name."""
        return self._entry(name).size

    def read(self, name: bytes) -> bytes:
        """The content of an entry.

        Raises:
            ArchiveError: There is none of that name, or it is cut off, or its checksum is wrong.
            OSError: The file cannot be read.
        """
        entry = self._entry(name)
        with self._path.open("rb") as file:
            head = _exactly(file, entry.header, 30, self._bytes)
            if head[:4] != _LOCAL:
                raise ArchiveError(f"{_shown(name)} is not where the directory says")
            begin = entry.header + 30 + sum(struct.unpack("<HH", head[26:]))
            content = _exactly(file, begin, entry.size, self._bytes)
        if zlib.crc32(content) != entry.crc:
            raise ArchiveError(f"the checksum of {_shown(name)} is wrong")
        return content

    def _entry(self, name: bytes) -> _Entry:
        if name not in self._entries:
            raise ArchiveError(f"there is no {_shown(name)}")
        return self._entries[name]


def _directory(file: IO[bytes], total: int) -> bytes:
    """The central directory, found through the record at the end of the file."""
    begin = max(0, total - 22 - _LONGEST_COMMENT)
    tail = _exactly(file, begin, total - begin, total)
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < 22:
        raise ArchiveError("it has no directory, so it was cut off")
    size, offset = struct.unpack("<II", tail[place + 12 : place + 20])
    locator = tail[max(0, place - 20) : place]
    if locator[:4] == _LOCATOR_64 and len(locator) == 20:
        end = _exactly(file, struct.unpack("<Q", locator[8:16])[0], 56, total)
        if end[:4] != _END_64:
            raise ArchiveError("the end of its directory is damaged")
        size, offset = struct.unpack("<QQ", end[40:56])
    if size > LARGEST_DIRECTORY:
        raise ArchiveError(f"its directory has {size} bytes; those of weights have at most {LARGEST_DIRECTORY}")
    return _exactly(file, offset, size, total)


def _entries(directory: bytes) -> Iterator[tuple[bytes, _Entry]]:
    """Yields the entries of a central directory."""
    place, count = 0, 0
    while place < len(directory):
        head = directory[place : place + 46]
        if len(head) < 46 or head[:4] != _ENTRY:
            raise ArchiveError("its directory is damaged")
        if count == MOST_ENTRIES:
            raise ArchiveError(f"it has more than {MOST_ENTRIES} entries; files of weights have fewer")
        flags, method = struct.unpack("<HH", head[8:12])
        crc, packed, size, *lengths = struct.unpack("<IIIHHH", head[16:34])
        end_of_name = place + 46 + lengths[0]
        name = directory[place + 46 : end_of_name]
        extra = directory[end_of_name : end_of_name + lengths[1]]
        header = struct.unpack("<I", head[42:])[0]
        if flags & _ENCRYPTED:
            raise ArchiveError(f"{_shown(name)} is encrypted; files of weights are not")
        if method:
            raise ArchiveError(f"{_shown(name)} is compressed, which PyTorch's files never are")
        size, packed, header = _large(extra, (size, packed, header))
        if size != packed:
            raise ArchiveError(f"{_shown(name)} has two sizes")
        yield name, _Entry(header, size, crc)
        place, count = end_of_name + lengths[1] + lengths[2], count + 1


def _large(extra: bytes, numbers: tuple[int, ...]) -> Iterator[int]:
    """Yields the size, the packed size and the place of an entry; those of 4 GB and more are in an extra field."""
    found, place = b"", 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[place : place + 4])
        if kind == _EXTRA_64:
            found = extra[place + 4 : place + 4 + length]
        place += 4 + length
    for number in numbers:
        if number == _LARGE and len(found) >= 8:
            yield struct.unpack("<Q", found[:8])[0]
            found = found[8:]
        else:
            yield number


def _exactly(file: IO[bytes], begin: int, size: int, total: int) -> bytes:
    """``size`` bytes from ``begin`` of a file of ``total`` bytes."""
    if begin + size > total:
        raise ArchiveError("a part lies outside the file, which was cut off")
    file.seek(begin)
    content = file.read(size)
    if len(content) < size:
        raise ArchiveError("it was cut off while it was read")
    return content


def _shown(name: bytes) -> str:
    return printable(name[:60].decode("utf-8", "replace"))
