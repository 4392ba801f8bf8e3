import random

import pytest

from utils.records.crc32c import crc32c, masked_crc32c


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),  # the check value of CRC catalogues
        (bytes(32), 0x8A9136AA),  # this and the next three: RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_equals_the_published_values(data, expected):
    assert crc32c(data) == expected


def _bit_by_bit(data):
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("length", [511, 512, 513, 514, 1023, 1024, 1025, 4099, 20001])
def test_long_messages_equal_the_definition_bit_by_bit(length):
    data = random.Random(length).randbytes(length)
    assert crc32c(data) == _bit_by_bit(data)


def test_leading_and_trailing_zeros_count():
    data = random.Random(1).randbytes(1000)
    assert len({crc32c(data), crc32c(b"\0" + data), crc32c(data + b"\0"), crc32c(bytes(200) + data)}) == 4


def test_masked_form_by_hand():
    # 0xE3069283 >> 15 = 0x1C60D, << 17 = 0x25060000 (mod 2^32); or = 0x2507C60D; plus 0xA282EAD8
    assert masked_crc32c(b"123456789") == 0x2507C60D + 0xA282EAD8


def test_takes_any_kind_of_bytes():
    data = random.Random(2).randbytes(2000)
    assert crc32c(bytearray(data)) == crc32c(memoryview(data)) == crc32c(data)
