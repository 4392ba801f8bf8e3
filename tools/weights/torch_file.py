"""Reads tensors from PyTorch's files without PyTorch, and without executing anything pickled in them (no TF).

A PyTorch file is a zip archive: ``<root>/data/<key>`` are the bytes of tensors; ``<root>/data.pkl`` is a pickle, and a
pickle can name and call any function. ``tensor_pickle`` reads it without calling any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tools.weights.stored_archive import ArchiveError, StoredArchive
from tools.weights.tensor_pickle import BFLOAT16, PickleError, TorchTensor, UnknownName, read_pickle
from utils.errors import RunError
from utils.text import printable

LARGEST_PICKLE = 8 * 2**20
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ADVICE = "torch.save(model.state_dict(), FILE) writes a file of tensors alone"


class TorchFile:
    """A file of ``torch.save``, with its content.

    Args:
        path: The file.

    Raises:
        RunError: It is damaged, in the format before PyTorch 1.6, or names something other than tensors.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = StoredArchive(path)
            self._root = self._only_root()
            self._check_order()
            self.content: Any = self._load()
        except (ArchiveError, OSError) as error:
            raise RunError(f"{path}: is damaged: {error}") from error

    def read(self, tensor: TorchTensor) -> np.ndarray:
        """The values of a tensor; bfloat16 becomes float32.

        Raises:
            RunError: Some of its bytes are missing.
        """
        try:
            raw = self._archive.read(self._root + b"/data/" + tensor.storage.key.encode("utf-8", "surrogatepass"))
        except (ArchiveError, OSError) as error:
            raise RunError(f"{self._path}: the values of a tensor cannot be read: {error}") from error
        storage = tensor.storage
        width = 2 if storage.dtype == BFLOAT16 else np.dtype(storage.dtype).itemsize
        if len(raw) != storage.count * width or not tensor.fits(len(raw) // width):
            raise RunError(f"{self._path}: a tensor of {storage.count * width} bytes has {len(raw)}; it is damaged")
        flat = np.frombuffer(raw, "<u2" if storage.dtype == BFLOAT16 else storage.dtype)
        used = [size > 1 and 0 not in tensor.shape for size in tensor.shape]  # other strides could be of any length
        strides = tuple(stride * width * is_used for stride, is_used in zip(tensor.strides, used, strict=True))
        view = np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)
        return _float32(view) if storage.dtype == BFLOAT16 else view

    def _only_root(self) -> bytes:
        """The root folder of the archive."""
        roots = [name.removesuffix(b"/data.pkl") for name in self._archive.names if name.endswith(b"/data.pkl")]
        if len(roots) != 1:
            raise RunError(f"{self._path}: is a zip archive but not a PyTorch file: it has {len(roots)} data.pkl")
        return roots[0]

    def _check_order(self) -> None:
        name = self._root + b"/byteorder"
        if name in self._archive.names and self._archive.read(name) != b"little":
            raise RunError(f"{self._path}: was written on a big-endian machine, which is not supported")

    def _load(self) -> Any:
        name = self._root + b"/data.pkl"
        if self._archive.size(name) > LARGEST_PICKLE:
            raise RunError(
                f"{self._path}: its list of tensors has more than {LARGEST_PICKLE} bytes; it is not a file of weights"
            )
        try:
            return read_pickle(self._archive.read(name))
        except UnknownName as error:
            raise RunError(
                f"{self._path}: its pickle asks for {error}, which is not part of a tensor; nothing was executed; "
                f"{_ADVICE}"
            ) from error
        except PickleError as error:
            shown = printable(name[:200].decode("utf-8", "replace"))
            raise RunError(f"{self._path}: is damaged: {shown} cannot be read: {error}") from error


def is_torch_file(path: Path) -> bool:
    """Returns whether a file begins like those of ``torch.save``.

    Raises:
        RunError: It is from before PyTorch 1.6; that format cannot be read without executing it.
    """
    with path.open("rb") as file:
        begin = file.read(16)
    if begin.startswith(_PICKLES):
        raise RunError(
            f"{path}: is a plain pickle, as PyTorch before 1.6 wrote; load it in PyTorch and save it again: {_ADVICE}"
        )
    return begin.startswith(b"PK\x03\x04")


def _float32(halves: np.ndarray) -> np.ndarray:
    """The float32 values of bfloat16 ones, which are their upper halves."""
    values = halves.astype(np.uint32)
    values <<= 16
    return values.view(np.float32)


def states(content: Any) -> dict[str, dict[str, TorchTensor]]:
    """The state dicts of a file: its own under "", or those of a training checkpoint by their keys.

    States that a file names twice are one object, so that no file is larger in memory than on disk.
    """
    if not isinstance(content, Mapping):
        return {}
    own = dict(_tensors(content))
    distinct = {id(value): value for value in content.values() if isinstance(value, Mapping)}
    once = {number: dict(_tensors(value)) for number, value in distinct.items()}
    inner = {key: found for key, value in content.items() if isinstance(key, str) and (found := once.get(id(value)))}
    if len(own) > max((len(found) for found in inner.values()), default=0):
        return {"": own}
    return inner


def _tensors(value: Mapping[Any, Any]) -> Iterator[tuple[str, TorchTensor]]:
    return ((k, tensor) for k, tensor in value.items() if isinstance(k, str) and isinstance(tensor, TorchTensor))
