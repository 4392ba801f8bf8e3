"""Reads tensors from PyTorch's files without PyTorch, and without executing anything pickled in them (no TF).

A PyTorch file is a zip archive: ``<root>/data/<key>`` are the bytes of tensors; ``<root>/data.pkl`` is a pickle, and a
pickle can name and call any function. Here it is parsed by a restricted unpickler that accepts only tensors: it knows
just the few names below, and these only record the place of a tensor's bytes.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import RunError

LARGEST_PICKLE = 256 * 2**20
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_ADVICE = "torch.save(model.state_dict(), FILE) writes a file of tensors alone"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A storage class of PyTorch, reduced to the type of its elements."""

    dtype: str


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """A strided view of a storage that starts at element ``offset``."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


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
            with zipfile.ZipFile(path) as archive:
                self._root = _root(archive, path)
                self._check_order(archive)
                self.content: Any = _load(archive, f"{self._root}/data.pkl", path)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise RunError(f"{path}: is damaged: {error}") from error

    def read(self, tensor: TorchTensor) -> np.ndarray:
        """The values of a tensor; bfloat16 becomes float32.

        Raises:
            RunError: Some of its bytes are missing.
        """
        storage = tensor.storage
        width = 2 if storage.dtype == "bfloat16" else np.dtype(storage.dtype).itemsize
        try:
            with zipfile.ZipFile(self._path) as archive:
                raw = archive.read(f"{self._root}/data/{storage.key}")
        except (zipfile.BadZipFile, KeyError, OSError, EOFError) as error:
            raise RunError(f"{self._path}: the values of a tensor cannot be read: {error}") from error
        if len(raw) != storage.count * width:
            raise RunError(f"{self._path}: a tensor of {storage.count * width} bytes has {len(raw)}; it is damaged")
        if storage.dtype == "bfloat16":
            flat = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            flat = np.frombuffer(raw, storage.dtype)
        strides = tuple(stride * flat.itemsize for stride in tensor.strides)
        return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, strides, writeable=False)

    def _check_order(self, archive: zipfile.ZipFile) -> None:
        name = f"{self._root}/byteorder"
        if name in archive.namelist() and archive.read(name) != b"little":
            raise RunError(f"{self._path}: was written on a big-endian machine, which is not supported")


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


def _root(archive: zipfile.ZipFile, path: Path) -> str:
    """The root folder of the archive; refuses compressed entries, which could expand beyond the file's size."""
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED:
            raise RunError(f"{path}: {entry.filename} is compressed, which PyTorch's files never are")
    roots = [name.removesuffix("/data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise RunError(f"{path}: is a zip archive but not a PyTorch file: it has {len(roots)} data.pkl")
    return roots[0]


def _load(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    if archive.getinfo(name).file_size > LARGEST_PICKLE:
        raise RunError(f"{path}: its list of tensors has more than {LARGEST_PICKLE} bytes; it is not a file of weights")
    with archive.open(name) as file:
        try:
            return _TensorUnpickler(file, path).load()
        except RunError:
            raise
        except Exception as error:  # a damaged pickle may raise any error
            raise RunError(f"{path}: is damaged: {name} cannot be read: {error!r}") from error


class _TensorUnpickler(pickle.Unpickler):
    """A restricted unpickler that accepts only tensors, storages and ordered dictionaries."""

    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == "torch" and name in _STORAGES:
            return _Kind(_STORAGES[name])
        raise RunError(
            f"{self._path}: its pickle asks for {module}.{name}, which is not part of a tensor; nothing was "
            f"executed; {_ADVICE}"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage, key, _, count = pid
        if kind != "storage" or not isinstance(storage, _Kind) or not isinstance(key, str):
            raise ValueError(f"unknown reference {pid!r}")
        return _Storage(key, storage.dtype, int(count))


def _tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> TorchTensor:
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    sound = min((offset, *shape, *strides)) >= 0 and (0 in shape or last < storage.count)
    if not isinstance(storage, _Storage) or not sound:
        raise ValueError(f"a tensor of shape {shape} lies outside its storage of {storage.count}")
    return TorchTensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: TorchTensor, *_: Any) -> TorchTensor:
    return tensor


class _Options:
    """The options of the training program, which are ignored."""

    def __setstate__(self, state: Any) -> None:
        pass


_ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("argparse", "Namespace"): _Options,  # beside the states in timm's training checkpoints
}


def states(content: Any) -> dict[str, dict[str, TorchTensor]]:
    """The state dicts of a file: its own under "", or those of a training checkpoint by their keys."""
    if not isinstance(content, Mapping):
        return {}
    own = _tensors(content)
    inner = {key: found for key, value in content.items() if isinstance(key, str) and (found := _tensors(value))}
    if len(own) > max((len(found) for found in inner.values()), default=0):
        return {"": own}
    return inner


def _tensors(value: Any) -> dict[str, TorchTensor]:
    return dict(_pairs(value)) if isinstance(value, Mapping) else {}


def _pairs(value: Mapping[Any, Any]) -> Iterator[tuple[str, TorchTensor]]:
    for name, tensor in value.items():
        if isinstance(name, str) and isinstance(tensor, TorchTensor):
            yield name, tensor
