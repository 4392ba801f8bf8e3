"""TFRecord files read by their frame: count, locate, check and fetch records without TensorFlow (no TF).

A record is its payload's length (8 bytes, little endian), the masked CRC-32C of those 8 bytes (4), the payload, and the
masked CRC-32C of the payload (4). Uncompressed local files only.

Source: tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details".
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from utils.errors import RunError
from utils.records.crc32c import masked_crc32c

HEADER_BYTES = 12
FOOTER_BYTES = 4
FRAME_BYTES = HEADER_BYTES + FOOTER_BYTES

_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")

StrPath = str | os.PathLike[str]


def framed(payload: bytes) -> bytes:
    """A record as it stands in a file: the payload with its length before it and the checksums of both."""
    length = _LENGTH.pack(len(payload))
    return length + _CRC.pack(masked_crc32c(length)) + payload + _CRC.pack(masked_crc32c(payload))


class RecordWriter:
    """Writes records to an open file.

    Attributes:
        examples: Records written.
        bytes: Their size in the file.
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
        """The hash of what was written, in hexadecimal."""
        return self._digest.hexdigest()


@contextmanager
def _descriptor(path: StrPath) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _fault_of_header(header: bytes, left: int) -> str | None:
    """Describe the fault of a header that has ``left`` bytes of file from its start on, or None."""
    if len(header) < HEADER_BYTES:
        return f"the file ends inside its header ({left} bytes left of {HEADER_BYTES})"
    length, crc = _HEADER.unpack(header)
    if masked_crc32c(header[:8]) != crc:
        return "the checksum of its length is wrong"
    if FRAME_BYTES + length > left:
        return f"the file ends inside it ({left} bytes left of {FRAME_BYTES + length})"
    return None


def _walk(descriptor: int) -> Iterator[tuple[int, int, str | None]]:
    """Yields (offset of the payload, its length, fault of the header); the walk ends at the first fault."""
    size, start = os.fstat(descriptor).st_size, 0
    while start < size:
        header = os.pread(descriptor, HEADER_BYTES, start)
        fault = _fault_of_header(header, size - start)
        length = 0 if fault else _HEADER.unpack(header)[0]
        yield start + HEADER_BYTES, length, fault
        if fault:
            return
        start += FRAME_BYTES + length


def iterate_headers(path: StrPath) -> Iterator[tuple[int, int]]:
    """Yields (offset, length) of every payload, in bytes, reading 12 bytes a record and no payload.

    Raises:
        RunError: the file cannot be opened, or a header is broken or promises more bytes than there are; names the file
            and the record (from 0).
    """
    with _descriptor(path) as descriptor:
        for number, (offset, length, fault) in enumerate(_walk(descriptor)):
            if fault:
                raise RunError(f"{path}: record {number} is broken: {fault}")
            yield offset, length


def count_records(path: StrPath) -> int:
    """The number of records, by hopping over the headers."""
    return sum(1 for _ in iterate_headers(path))


def read_record(path: StrPath, record_number: int) -> bytes:
    """The payload of one record (from 0), without checking its checksum.

    Raises:
        RunError: as ``iterate_headers``, or the file holds fewer records.
    """
    count = 0
    for offset, length in iterate_headers(path):
        if count == record_number:
            with Path(path).open("rb") as file:
                file.seek(offset)
                return file.read(length)
        count += 1
    raise RunError(f"{path}: has no record {record_number}; it holds {count}, numbered from 0")


def locate_records(path: StrPath) -> tuple[list[tuple[int, int]], str | None]:
    """(offset, length) of every payload up to the first broken header, and what is wrong with that one, or None.

    Raises:
        RunError: the file cannot be opened.
    """
    sound: list[tuple[int, int]] = []
    with _descriptor(path) as descriptor:
        for offset, length, fault in _walk(descriptor):
            if fault:
                return sound, fault
            sound.append((offset, length))
    return sound, None


def iterate_payloads(path: StrPath, places: Iterable[tuple[int, int]]) -> Iterator[tuple[bytes, str | None]]:
    """Yields the payload at each (offset, length), and what is wrong with it, or None; checks its checksum.

    Raises:
        RunError: the file cannot be opened.
    """
    with _descriptor(path) as descriptor:
        for offset, length in places:
            body = os.pread(descriptor, length + FOOTER_BYTES, offset)
            yield body[:length], _fault_of_body(body, length)


def _fault_of_body(body: bytes, length: int) -> str | None:
    """Describe the fault of a payload that was read with the checksum behind it, or None."""
    if len(body) < length + FOOTER_BYTES:
        return "the file was cut off while it was read"
    if masked_crc32c(memoryview(body)[:length]) != _CRC.unpack(body[length:])[0]:
        return "the checksum of its data is wrong"
    return None


def find_bad_record(path: StrPath) -> tuple[int, str] | None:
    """The number (from 0) of the first record that is broken and what is wrong with it, or None for a sound file.

    Reads the whole file and checks both checksums of every record.
    """
    with _descriptor(path) as descriptor:
        for number, (offset, length, fault) in enumerate(_walk(descriptor)):
            if fault:
                return number, fault
            fault = _fault_of_body(os.pread(descriptor, length + FOOTER_BYTES, offset), length)
            if fault:
                return number, fault
    return None
