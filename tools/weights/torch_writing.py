"""Writes arrays in dictionaries as ``torch.save`` does, without PyTorch (no TF).

A file is a zip archive of the bytes of its tensors and of a pickle that describes them, see ``torch_file``.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utils.files.atomic_file import atomic_file

_ROOT = "archive"
_STORAGES = {"float32": b"FloatStorage", "int64": b"LongStorage"}
_NEW_DICT = b"ccollections\nOrderedDict\n)R"


def write_torch(path: Path, content: Any) -> None:
    """Writes dictionaries, lists, tuples, texts, numbers and arrays of float32 or int64; arrays become tensors.

    Raises:
        OSError: The file cannot be written.
    """
    arrays: list[np.ndarray] = []
    pickle = b"\x80\x02" + _pickled(content, arrays) + b"."
    parts = {"data.pkl": pickle, "byteorder": b"little", "version": b"3\n"}
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, raw in parts.items():
            archive.writestr(f"{_ROOT}/{name}", raw)
        for number, array in enumerate(arrays):
            archive.writestr(f"{_ROOT}/data/{number}", array.tobytes())


def _pickled(value: Any, arrays: list[np.ndarray]) -> bytes:
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode("utf-8")
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, np.ndarray):
        return _tensor(value, arrays)
    if isinstance(value, Mapping):
        pairs = (_pickled(key, arrays) + _pickled(item, arrays) for key, item in value.items())
        return b"}(" + b"".join(pairs) + b"u"
    items = b"".join(_pickled(item, arrays) for item in value)
    return b"(" + items + b"t" if isinstance(value, tuple) else b"](" + items + b"e"


def _tensor(array: np.ndarray, arrays: list[np.ndarray]) -> bytes:
    array = np.require(array, requirements="C")
    strides = tuple(step // array.itemsize for step in array.strides)
    kind = b"ctorch\n" + _STORAGES[array.dtype.name] + b"\n"
    key = _pickled(str(len(arrays)), arrays)
    arrays.append(array)
    storage = b"(" + _pickled("storage", []) + kind + key + _pickled("cpu", []) + _pickled(array.size, []) + b"tQ"
    layout = _pickled(0, []) + _pickled(array.shape, []) + _pickled(strides, []) + b"\x89" + _NEW_DICT
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + layout + b"tR"
