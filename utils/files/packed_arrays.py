"""Arrays of numbers as text within JSON: compressed, with their types (no TF)."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from utils.files.json_values import typed

_MOST_BYTES = 2**31  # of an unpacked array
_KINDS = "biuf"
_WIDTHS = (np.int8, np.int16, np.int32, np.int64)


def packed(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Packs arrays of one dimension as JSON values; whole numbers take as few bytes as their range needs."""
    return {name: _packed(np.asarray(values)) for name, values in arrays.items()}


def _packed(values: np.ndarray) -> dict[str, Any]:
    if values.dtype.kind == "i" and values.size:
        ends = values.min(), values.max()
        values = values.astype(
            next(kind for kind in _WIDTHS if all(np.iinfo(kind).min <= e <= np.iinfo(kind).max for e in ends))
        )
    values = values.astype(values.dtype.newbyteorder("<"))
    data = base64.b64encode(zlib.compress(values.tobytes(), 6)).decode("ascii")
    return {"dtype": values.dtype.str, "length": len(values), "zlib": data}


def unpacked(content: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Unpacks arrays of equal length.

    Raises:
        ValueError: One is missing or damaged, or their lengths differ; the message names it.
    """
    arrays = {name: _unpacked(name, typed(content, name, dict)) for name in names}
    if len({len(values) for values in arrays.values()}) > 1:
        raise ValueError(f"{', '.join(names)} differ in length")
    return arrays


def _unpacked(name: str, content: Mapping[str, Any]) -> np.ndarray:
    length = typed(content, "length", int, least=0, most=_MOST_BYTES)
    try:
        kind = np.dtype(typed(content, "dtype", str))
        size = length * kind.itemsize
        if kind.kind not in _KINDS or size > _MOST_BYTES:
            raise ValueError(f"{kind} of length {length} is not stored here")
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(typed(content, "zlib", str), validate=True), size + 1)
        if len(data) != size:
            raise ValueError(f"its data are not {length} numbers")
    except (TypeError, ValueError, zlib.error) as error:
        raise ValueError(f'"{name}" is no packed array: {error}') from error
    return np.frombuffer(data, kind)
