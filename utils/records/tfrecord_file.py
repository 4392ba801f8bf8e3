"""Counts, locates, checks and fetches records of TFRecord files by their frames (no TF).

A record consists of the payload's length (8 bytes, little endian), the masked CRC-32C of those 8 bytes (4), the
payload, and the masked CRC-32C of the payload (4). Supports only uncompressed local files.

Source: tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details".
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from utils.errors import RunError
from utils.files.file_kind import BEGIN_BYTES, kind_of_bytes
from utils.files.regular_file import open_regular
from utils.records.crc32c import masked_crc32c

HEADER_BYTES = 12
FOOTER_BYTES = 4
FRAME_BYTES = HEADER_BYTES + FOOTER_BYTES
MOST_PAYLOAD_BYTES = 1 << 30  # no image that decodes has more

_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")

StrPath = str | os.PathLike[str]


def framed(payload: bytes) -> bytes:
    """A record as stored in a file: the payload with its length and the checksums of both."""
    length = _LENGTH.pack(len(payload))
    return length + _CRC.pack(masked_crc32c(length)) + payload + _CRC.pack(masked_crc32c(payload))


class RecordWriter:
    """Writes records to an open file.

    Attributes:
        examples: Number of records written.
        bytes: Their total size in the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()
        self.examples = self.bytes = 0

    def write(self, payload: bytes) -> None:
        record = framed(payload)
        self._file.write(record)
        self._digest.update(record)
        self.bytes += len(record)
        self.examples += 1

    @property
    def sha256(self) -> str:
        """The hash of the written bytes, in hexadecimal."""
        return self._digest.hexdigest()


@contextmanager
def _descriptor(path: StrPath) -> Iterator[int]:
    try:
        file = open_regular(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    with file:
        yield file.fileno()


def _fault_of_header(header: bytes, left: int) -> str | None:
    """Describes the fault of a header, given the ``left`` bytes of the file from its start; None if it is sound."""
    if len(header) < HEADER_BYTES:
        return f"the file ends inside its header ({left} of {HEADER_BYTES} bytes left)"
    length, crc = _HEADER.unpack(header)
    if masked_crc32c(header[:8]) != crc:
        return "the checksum of its length is wrong"
    if FRAME_BYTES + length > left:
        return f"the file ends inside it ({left} of {FRAME_BYTES + length} bytes left)"
    if length > MOST_PAYLOAD_BYTES:
        return f"it has {length:,} bytes, and may have {MOST_PAYLOAD_BYTES:,}"
    return None


def _fault_at(descriptor: int, start: int, header: bytes, left: int) -> str | None:
    """Describes the fault of the header at ``start``; at the start of a file of another kind, names that kind."""
    fault = _fault_of_header(header, left)
    kind = kind_of_bytes(os.pread(descriptor, BEGIN_BYTES, 0)) if fault and start == 0 else None
    return f"the file holds no TFRecords: it is {kind}" if kind else fault


def is_record_file(path: StrPath) -> bool:
    """Returns whether a regular file begins like a file of TFRecords."""
    try:
        with open_regular(path) as file:
            header = os.pread(file.fileno(), HEADER_BYTES, 0)
    except OSError:
        return False
    return len(header) == HEADER_BYTES and masked_crc32c(header[:8]) == _HEADER.unpack(header)[1]


def _walk(descriptor: int) -> Iterator[tuple[int, int, str | None]]:
    """Yields (offset of the payload, its length, fault of the header or None); ends at the first fault."""
    size, start = os.fstat(descriptor).st_size, 0
    while start < size:
        header = os.pread(descriptor, HEADER_BYTES, start)
        fault = _fault_at(descriptor, start, header, size - start)
        length = 0 if fault else _HEADER.unpack(header)[0]
        yield start + HEADER_BYTES, length, fault
        if fault:
            return
        start += FRAME_BYTES + length


def iterate_headers(path: StrPath) -> Iterator[tuple[int, int]]:
    """Yields (offset, length) of every payload in bytes; reads 12 bytes per record and no payload.

    Raises:
        RunError: The file cannot be opened, or a header is broken or states more bytes than the file has; the message
            names the file and the record (from 0).
    """
    with _descriptor(path) as descriptor:
        for number, (offset, length, fault) in enumerate(_walk(descriptor)):
            if fault:
                raise RunError(f"{path}: record {number} is broken: {fault}")
            yield offset, length


def count_records(path: StrPath) -> int:
    """The number of records, counted from the headers."""
    return sum(1 for _ in iterate_headers(path))


def read_record(path: StrPath, record_number: int) -> bytes:
    """The payload of one record (from 0); its checksum is not verified.

    Raises:
        RunError: As in ``iterate_headers``, or the file holds fewer records.
    """
    count = 0
    for offset, length in iterate_headers(path):
        if count == record_number:
            with _descriptor(path) as descriptor:
                return os.pread(descriptor, length, offset)
        count += 1
    raise RunError(f"{path}: has no record {record_number}; it holds {count}, numbered from 0")


def locate_records(path: StrPath) -> tuple[list[tuple[int, int]], str | None]:
    """(offset, length) of every payload up to the first broken header, and the fault of that header or None.

    Raises:
        RunError: The file cannot be opened.
    """
    sound: list[tuple[int, int]] = []
    with _descriptor(path) as descriptor:
        for offset, length, fault in _walk(descriptor):
            if fault:
                return sound, fault
            sound.append((offset, length))
    return sound, None


def iterate_payloads(path: StrPath, places: Iterable[tuple[int, int]]) -> Iterator[tuple[bytes, str | None]]:
    """Yields the payload at each (offset, length) and its fault or None; verifies its checksum.

    Raises:
        RunError: The file cannot be opened.
    """
    with _descriptor(path) as descriptor:
        for offset, length in places:
            yield _payload_at(descriptor, offset, length)


def _payload_at(descriptor: int, offset: int, length: int) -> tuple[bytes, str | None]:
    """A payload and its fault, None if it is sound; verifies its checksum."""
    body = os.pread(descriptor, length + FOOTER_BYTES, offset)
    payload = body[:length]
    if len(body) < length + FOOTER_BYTES:
        return payload, "the file was truncated while being read"
    sound = masked_crc32c(payload) == _CRC.unpack(body[length:])[0]
    return payload, None if sound else "the checksum of its data is wrong"


def find_bad_record(path: StrPath) -> tuple[int, str] | None:
    """The number (from 0) and the fault of the first broken record, or None for a sound file.

    Reads the whole file and verifies both checksums of every record.
    """
    with _descriptor(path) as descriptor:
        for number, (offset, length, fault) in enumerate(_walk(descriptor)):
            if fault:
                return number, fault
            _, fault = _payload_at(descriptor, offset, length)
            if fault:
                return number, fault
    return None
