"""``tf.train.Example`` messages written in the protobuf wire format, so that no worker imports TensorFlow (no TF).

Only what records need: features of bytes, floats and integers, in the order of their names, as TensorFlow's own
deterministic serialization writes them.

Source: tensorflow/core/example/{example,feature}.proto; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

Value = bytes | int | Sequence[int] | Sequence[float] | Sequence[bytes]

_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # fields of Feature
_LENGTH_DELIMITED = 2


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # a negative int64 is its two's complement
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
        features: One value each: bytes, an integer, or a list of one kind: integers, floats or bytes. A list that is
            empty is left out, which readers of lists take for an empty one of whatever kind they expect.
    """
    entries = (
        _field(1, _field(1, name.encode()) + _field(2, _feature(value)))
        for name, value in sorted(features.items())
        if isinstance(value, bytes | int) or value
    )
    return _field(1, b"".join(entries))
