import random

import google_crc32c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.records.crc32c import masked_crc32c


def _crc32c(data):
    """The checksum below the mask."""
    rotated = (masked_crc32c(data) - 0xA282EAD8) & 0xFFFFFFFF
    return ((rotated << 15) | (rotated >> 17)) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),  # the check value of CRC catalogues
        (bytes(32), 0x8A9136AA),  # this and the next four: RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (bytes.fromhex("01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018"
                       "28000000 00000000 02000000 00000000"), 0xD9963A56),
    ],
)  # fmt: skip
def test_equals_the_published_values(data, expected):
    assert _crc32c(data) == expected


def _bit_by_bit(data):
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_equal_the_definition_bit_by_bit(data):
    assert _crc32c(data) == _bit_by_bit(data)


@pytest.mark.parametrize("length", [4099, 20001])
def test_long_messages_equal_the_definition_bit_by_bit(length):
    data = random.Random(length).randbytes(length)
    assert _crc32c(data) == _bit_by_bit(data)


def test_leading_and_trailing_zeros_count():
    data = random.Random(1).randbytes(1000)
    assert len({_crc32c(data), _crc32c(b"\0" + data), _crc32c(data + b"\0"), _crc32c(bytes(200) + data)}) == 4


def test_masked_form_by_hand():
    # 0xE3069283 >> 15 = 0x1C60D, << 17 = 0x25060000 (mod 2^32); or = 0x2507C60D; plus 0xA282EAD8
    assert masked_crc32c(b"123456789") == 0x2507C60D + 0xA282EAD8


def test_the_package_computes_in_compiled_code():
    assert google_crc32c.implementation == "c"
