"""Writes and reads ``tf.train.Example`` messages in the protobuf wire format (no TF).

It covers only what records need: features of bytes, floats and integers, sorted by name as in TensorFlow's
deterministic serialization.

Source: tensorflow/core/example/{example,feature}.proto; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

Value = bytes | int | Sequence[int] | Sequence[float] | Sequence[bytes]
Values = list[bytes] | list[int] | list[float]

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


def decode_example(data: bytes) -> dict[str, Values]:
    """The features of a serialized ``tf.train.Example``, each a list; empty features give empty lists.

    Raises:
        ValueError: The bytes are not such a message.
    """
    features: dict[str, Values] = {}
    for features_message in _messages(memoryview(data), 1):
        for entry in _messages(features_message, 1):
            name = b"".join(bytes(part) for part in _messages(entry, 1)).decode()
            found: Values = []
            for feature in _messages(entry, 2):
                found = _values(feature)
            features[name] = found
    return features


def _values(feature: memoryview) -> Values:
    for kind, _, content in _fields(feature):
        if kind == _BYTES_LIST:
            return [bytes(part) for part in _messages(_message(content), 1)]
        if kind == _FLOAT_LIST:
            parts = (bytes(_message(part)) for number, _, part in _fields(_message(content)) if number == 1)
            packed = b"".join(parts)
            return list(struct.unpack(f"<{len(packed) // 4}f", packed))
        if kind == _INT64_LIST:
            return [number for part in _fields(_message(content)) if part[0] == 1 for number in _integers(part[2])]
    return []


def _integers(content: memoryview | int) -> Iterator[int]:
    """The signed 64-bit integers of a field, which holds one integer or several packed into a message."""
    if isinstance(content, int):
        yield content - (1 << 64) if content >> 63 else content
        return
    position = 0
    while position < len(content):
        value, position = _read_varint(content, position)
        yield value - (1 << 64) if value >> 63 else value


def _messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """The contents of all fields with a number, which must hold bytes."""
    return (_message(content) for field, _, content in _fields(data) if field == number)


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
