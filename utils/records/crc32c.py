"""TensorFlow's masked CRC-32C (Castagnoli) of bytes, computed by a compiled package (no TF).

Source: RFC 3720 appendix B.4 (polynomial and test vectors); the mask is that of TFRecord and LevelDB.
"""

from __future__ import annotations

import google_crc32c

_MASK_DELTA = 0xA282EAD8


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C rotated by 15 bits plus a constant, as in TFRecord (a CRC of data that contains CRCs is weak)."""
    crc = int(google_crc32c.value(data))
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
