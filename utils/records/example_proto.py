"""Writes and reads ``tf.train.Example`` messages in the protobuf wire format (no TF).

It covers only what records need: features of bytes, floats and integers, sorted by name as in TensorFlow's
deterministic serialization.

Source: tensorflow/core/example/{example,feature}.proto; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

Value = bytes | int | Sequence[int] | Sequence[float] | Sequence[bytes]

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # fields of Feature
_VARINT, _EIGHT_BYTES, _LENGTH_DELIMITED, _FOUR_BYTES = 0, 1, 2, 5  # wire types
_WIDTHS = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_LONGEST_VARINT = 10


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # a negative int64 is encoded as its two's complement
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _feature(value: Value) -> bytes:
    values: list[bytes | int | float] = [value] if isinstance(value, bytes | int) else list(value)
    texts = [one for one in values if isinstance(one, bytes)]
    if texts:
        return _field(_BYTES_LIST, b"".join(_field(1, text) for text in texts))
    numbers = [one for one in values if not isinstance(one, bytes)]
    if any(isinstance(number, float) for number in numbers):
        return _field(_FLOAT_LIST, _field(1, struct.pack(f"<{len(numbers)}f", *numbers)))
    return _field(_INT64_LIST, _field(1, b"".join(_varint(int(number)) for number in numbers)))


def encode_example(features: Mapping[str, Value]) -> bytes:
    """A serialized ``tf.train.Example``.

    Args:
        features: The value of each name: bytes, an integer, or a list of integers, floats or bytes. An empty list is
            left out; readers of lists then get an empty list of the kind that they expect.
    """
    entries = (
        _field(1, _field(1, name.encode()) + _field(2, _feature(value)))
        for name, value in sorted(features.items())
        if isinstance(value, bytes | int) or value
    )
    return _field(1, b"".join(entries))


class Feature(list[Any]):
    """The values of a feature.

    Attributes:
        kind: Their type, also of an empty list: ``bytes``, ``float`` or ``int``; None if the feature holds no list.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: type | None = None, values: Iterable[Any] = ()) -> None:
        super().__init__(values)
        self.kind = kind


def decode_example(data: bytes) -> dict[str, Feature]:
    """The features of a serialized ``tf.train.Example``.

    Refuses whatever TensorFlow's own parser refuses or does not read to its end.

    Raises:
        ValueError: The bytes are not such a message.
    """
    features: dict[str, Feature] = {}
    for number, _, content in _fields(memoryview(data)):
        for entry in _messages(_message(content), 1) if number == 1 else ():
            name, value = _entry(entry)
            features[name] = _feature_of(value)
    return features


def _entry(entry: memoryview) -> tuple[str, memoryview]:
    """Name and value of an entry of the map of features."""
    parts = {number: _message(content) for number, _, content in _fields(entry)}
    if parts.keys() != {1, 2}:
        raise ValueError("an entry has no name, no value, or more than these")
    return bytes(parts[1]).decode(), parts[2]


def _feature_of(feature: memoryview) -> Feature:
    lists = [(number, _message(content)) for number, _, content in _fields(feature)]
    if not lists:
        return Feature()
    if len(lists) > 1 or lists[0][0] not in _KINDS:
        raise ValueError("a feature holds more than one list, or one of an unknown kind")
    number, content = lists[0]
    return Feature(_KINDS[number], _READERS[number](content))


def _texts(content: memoryview) -> list[bytes]:
    return [bytes(part) for part in _messages(content, 1)]


def _floats(content: memoryview) -> list[float]:
    packed = b"".join(bytes(_message(part)) for part in _numbers(content, _FOUR_BYTES))
    if len(packed) % 4:
        raise ValueError("a list of floats ends inside a number")
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def _integers(content: memoryview) -> list[int]:
    return [number for part in _numbers(content, _VARINT) for number in _signed(part)]


def _numbers(content: memoryview, single: int) -> list[memoryview | int]:
    """The fields of a list of numbers: one that packs them all, or one of the wire type ``single`` for each."""
    fields = list(_fields(content))
    wires = {wire for _, wire, _ in fields}
    if any(number != 1 for number, _, _ in fields) or not (wires <= {single} or len(fields) == 1):
        raise ValueError("a list of numbers is divided into parts, or holds something else")
    return [part for _, _, part in fields]


_KINDS: dict[int, type] = {_BYTES_LIST: bytes, _FLOAT_LIST: float, _INT64_LIST: int}
_READERS: dict[int, Callable[[memoryview], list[Any]]] = {
    _BYTES_LIST: _texts,
    _FLOAT_LIST: _floats,
    _INT64_LIST: _integers,
}


def _signed(content: memoryview | int) -> Iterator[int]:
    """The signed 64-bit integers of a field, which holds one integer or several packed into a message."""
    if isinstance(content, int):
        yield content - (1 << 64) if content >> 63 else content
        return
    position = 0
    while position < len(content):
        value, position = _read_varint(content, position)
        yield value - (1 << 64) if value >> 63 else value


def _messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """The contents of all fields of a message; each must have the number, and hold bytes."""
    for field, _, content in _fields(data):
        if field != number:
            raise ValueError("a message has an unknown field")
        yield _message(content)


def _message(content: memoryview | int) -> memoryview:
    if isinstance(content, int):
        raise ValueError("a field holds a number, and must hold a message")
    return content


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview | int]]:
    """Yields number, wire type and content of each field of a message; a varint's content is its value."""
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        wire = key & 7
        if wire == _VARINT:
            value, position = _read_varint(data, position)
            yield key >> 3, wire, value
            continue
        if wire == _LENGTH_DELIMITED:
            length, position = _read_varint(data, position)
        elif wire in _WIDTHS:
            length = _WIDTHS[wire]
        else:
            raise ValueError(f"a field has the unknown wire type {wire}")
        if position + length > len(data):
            raise ValueError("a field extends beyond its message")
        yield key >> 3, wire, data[position : position + length]
        position += length


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """The varint at a position and the position after it."""
    value = 0
    for count, byte in enumerate(data[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position + count + 1
    raise ValueError("a number that does not end")
