"""Recognizes files that take the place of others: pointers, web pages, pictures and other programs' formats (no TF)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from utils.files.regular_file import open_regular

BEGIN_BYTES = 512
"""Number of first bytes by which ``kind_of_bytes`` knows all kinds."""
_SIGNATURES = (
    (0, b"version https://git-lfs.github.com/spec/", "a git-lfs pointer; git lfs pull fetches the file itself"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x1f\x8b", "compressed with gzip; gunzip it"),
    (0, b"BZh", "compressed with bzip2; decompress it"),
    (0, b"\xfd7zXZ\0", "compressed with xz; decompress it"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd; decompress it"),
    *((0, bytes((0x78, flags)), "compressed with zlib; decompress it") for flags in (0x01, 0x5E, 0x9C, 0xDA)),
    (0, b"<?xml", "an XML document, perhaps an error message of the server; download the file again"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (257, b"ustar", "a tar archive; extract it"),
)
_WEB_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<!--.{0,200}?-->\s*)?<(?:!doctype\s+html|html|head)\b", re.I | re.S)
_ZIP = b"PK\x03\x04"
_KERAS_ENTRIES = (b"metadata.json", b"config.json", b"model.weights.h5")
_TORCH_ENTRY = b"/data.pkl"
_TORCHSCRIPT_ENTRY = re.compile(rb"[^/]+/(?:data/\d+|constants/\d+|code/.+|version)")
_CONFLICT = re.compile(rb"^(?:<{7}|\|{7}|={7}|>{7})(?=\s|$)", re.M)


def kind_of_bytes(begin: bytes) -> str | None:
    """A phrase for the kind of file that begins with ``begin``, with the remedy: "compressed with gzip; gunzip it".

    None if the kind is unknown, or PyTorch's.
    """
    if not begin:
        return "empty"
    if _WEB_PAGE.match(begin):
        return "a web page (HTML), perhaps an error message of the server; download the file again"
    if begin.startswith(_ZIP):
        return _kind_of_zip(begin[30 : 30 + int.from_bytes(begin[26:28], "little")])
    return next((kind for place, mark, kind in _SIGNATURES if begin[place : place + len(mark)] == mark), None)


def _kind_of_zip(first: bytes) -> str | None:
    """The kind of a zip file by the name of its first entry."""
    if first in _KERAS_ENTRIES:
        return "a Keras 3 file"
    if first.endswith(b".npy"):
        return "an archive of NumPy arrays"
    if _TORCHSCRIPT_ENTRY.fullmatch(first):
        return "a TorchScript program; load it in PyTorch and save its state_dict()"
    return None if first.endswith(_TORCH_ENTRY) else "a zip file; extract it"


def kind_of_file(path: Path) -> str | None:
    """``kind_of_bytes`` for a file; None if there is no such file.

    Raises:
        OSError: It cannot be read, or is a pipe, a device or a file of the kernel.
    """
    if not path.exists() or path.is_dir():
        return None
    with open_regular(path) as file:
        return kind_of_bytes(file.read(BEGIN_BYTES))


def conflict_line(text: bytes) -> int | None:
    """The number of the first line that is a conflict marker of git; None if there is none."""
    found = _CONFLICT.search(text)
    return text.count(b"\n", 0, found.start()) + 1 if found else None


def why_no_json(text: bytes | str, error: Exception) -> str:
    """The reason why a text cannot be read as JSON, given the error of the parser."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if kind := kind_of_bytes(data[:BEGIN_BYTES]):
        return f"is {kind}"
    if line := conflict_line(data):
        return f"has a conflict marker of git in line {line}"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return f"is not valid JSON: {error}"
    return f"has a number that cannot be read: {error}"
