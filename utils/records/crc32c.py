"""CRC-32C (Castagnoli) and TensorFlow's masked form in NumPy, fast enough to frame whole photographs (no TF).

The CRC of a message is linear over GF(2). So a long message is cut into rows of 128 bytes, and their remainders are
computed in parallel, two bytes per step, and then folded pairwise. The remainder of ``left + right`` is the remainder
of ``left`` advanced by the length of ``right``, xor the remainder of ``right``.

Source: RFC 3720 appendix B.4 (polynomial and test vectors); the mask is that of TFRecord and LevelDB.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # bit-reversed 0x1EDC6F41
_ROW_BYTES = 128
_SHORT_BYTES = 512  # the plain loop is faster up to this length
_MASK_DELTA = 0xA282EAD8

Table = NDArray[np.uint32]


def _byte_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_BYTE_TABLE = _byte_table()


@cache
def _word_table() -> Table:
    """[65536]: the remainder after feeding two zero bytes into each 16-bit state."""
    table = np.array(_BYTE_TABLE, np.uint32)
    states = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(2):
        states = table[states & 0xFF] ^ (states >> 8)
    return states


def _apply(operator: Table, states: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Advances each state by the operator's length; ``operator`` is [4, 256], one row per byte of the state."""
    moved: NDArray[np.uint32] = operator[0][states & 0xFF] ^ operator[1][(states >> 8) & 0xFF]
    moved ^= operator[2][(states >> 16) & 0xFF] ^ operator[3][states >> 24]
    return moved


@cache
def _operator(doublings: int) -> Table:
    """[4, 256]: the effect of ``_ROW_BYTES << doublings`` zero bytes on every byte of a state."""
    states = np.arange(256, dtype=np.uint32)[None, :] << (8 * np.arange(4, dtype=np.uint32)[:, None])
    if doublings:
        half = _operator(doublings - 1)
        return _apply(half, _apply(half, states))
    table = np.array(_BYTE_TABLE, np.uint32)
    for _ in range(_ROW_BYTES):
        states = table[states & 0xFF] ^ (states >> 8)
    return states


def _crc_of_rows(data: Any) -> int:
    """The CRC of at least 4 bytes, before the final inversion."""
    count = len(data)
    rows = 1 << (-(-count // _ROW_BYTES) - 1).bit_length()
    padded = np.zeros(rows * _ROW_BYTES, np.uint8)  # leading zeros leave a zero state unchanged
    start = padded.size - count
    padded[start:] = np.frombuffer(data, np.uint8)
    padded[start : start + 4] ^= 0xFF  # equivalent to starting from the state 0xFFFFFFFF
    words = np.ascontiguousarray(padded.view("<u2").reshape(rows, -1).T)
    table = _word_table()
    states = np.zeros(rows, np.uint32)
    for word in words:
        states = table[(states & 0xFFFF) ^ word] ^ (states >> 16)
    doublings = 0
    while states.size > 1:
        states = _apply(_operator(doublings), states[0::2]) ^ states[1::2]
        doublings += 1
    return int(states[0])


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """The CRC-32C of ``data``, in [0, 2^32)."""
    if len(data) > _SHORT_BYTES:
        return _crc_of_rows(data) ^ 0xFFFFFFFF
    state = 0xFFFFFFFF
    for byte in data:
        state = _BYTE_TABLE[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ 0xFFFFFFFF


def masked_crc32c(data: bytes | bytearray | memoryview) -> int:
    """The CRC-32C rotated by 15 bits plus a constant, as in TFRecord (a CRC of data that contains CRCs is weak)."""
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
