"""Reads weights from PyTorch files, safetensors files, and TensorFlow checkpoints in both formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tools.weights.tensor_pickle import TorchTensor
from tools.weights.torch_file import TorchFile, is_torch_file, states
from utils.checkpoints import find_checkpoint, is_part
from utils.errors import RunError, UsageError
from utils.files.file_kind import kind_of_file
from utils.suggestions import absence, path_hint
from utils.text import printable
from utils.weights.checkpoint_contents import stored_shapes, value_reader

LARGEST_HEADER = 8 * 2**20
_KINDS = "a .safetensors or .pth file, or a folder, prefix or file of a TensorFlow checkpoint"
USUAL_STATES = ("state_dict", "model", "module", "net", "model_state_dict")
_NAMES_SHOWN = 8
_WRAPPERS = ("module.", "_orig_mod.", "model.")


def _no_tensor(tensor: TorchTensor) -> np.ndarray:
    raise ValueError(f"no file of PyTorch, but {tensor}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsFile:
    """Tensors by name, read on demand.

    Attributes:
        path: The file, or the prefix of a checkpoint.
        is_torch: Whether names and layouts are PyTorch's: kernels [out, in, height, width], matrices [out, in].
        shapes: Shapes as stored, by name.
        read: Reads one tensor.
        note: A sentence on the part of the file that was read; may be empty.
        optimizer: The state of the optimizer in a training checkpoint of PyTorch, as read, or None.
        tensor: Reads one of the tensors in it.
    """

    path: Path
    is_torch: bool
    shapes: Mapping[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]
    note: str = ""
    optimizer: Any = None
    tensor: Callable[[TorchTensor], np.ndarray] = field(default=_no_tensor)


def open_weights(path: Path, state: str | None = None) -> WeightsFile:
    """Opens a file, folder or prefix.

    Args:
        path: The file, folder or prefix of the weights.
        state: The key of the state in a training checkpoint of PyTorch; the usual one by default.

    Raises:
        UsageError: There is no such file, or it lacks the state.
        RunError: It is damaged, or of an unsupported kind.
    """
    kind = None if is_part(path) else kind_of_file(path)
    if kind:
        raise RunError(f"{path}: is {kind}; SRC is {_KINDS}")
    if path.is_file() and _is_safetensors(path):
        _no_state(path, state)
        return _safetensors(path)
    if path.is_file() and is_torch_file(path):
        return _torch(path, state)
    prefix = find_checkpoint(path)
    if prefix is None:
        raise UsageError(f"{path}: {absence(path, 'weights')}; SRC is {_KINDS}{path_hint(path)}")
    _no_state(path, state)
    shapes = {name: tuple(shape) for name, shape in stored_shapes(prefix).items()}
    return WeightsFile(path=prefix, is_torch=False, shapes=shapes, read=value_reader(prefix))


def _no_state(path: Path, state: str | None) -> None:
    if state is not None:
        raise UsageError(f"--state {state}: {path} holds only one state; leave out the flag")


def _is_safetensors(path: Path) -> bool:
    """Returns whether the file has the suffix, or begins with the length of a JSON object and its opening brace."""
    with path.open("rb") as file:
        begin = file.read(9)
    return path.suffix == ".safetensors" or (len(begin) == 9 and begin[8:] == b"{" and begin[4:8] == b"\0" * 4)


def _safetensors(path: Path) -> WeightsFile:
    from safetensors import SafetensorError, safe_open

    _check_header(path)
    try:
        file: Any = safe_open(path, framework="np")
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise RunError(f"{path}: cannot be read as safetensors: {error}") from error

    def read(name: str) -> np.ndarray:
        try:
            array = np.asarray(file.get_tensor(name))
        except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:  # also for types NumPy lacks
            raise RunError(f"{path}: {name} cannot be read: {error}") from error
        return array.astype(np.float32) if array.dtype.name == "bfloat16" else array

    return _unwrapped(path, shapes, read, "")


def _check_header(path: Path) -> None:
    """Refuses a list of tensors that would take many times its size in memory."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > LARGEST_HEADER:
        raise RunError(
            f"{path}: cannot be read as safetensors: its list of tensors has {size} bytes; those of weights have at "
            f"most {LARGEST_HEADER}"
        )


def _torch(path: Path, state: str | None) -> WeightsFile:
    file = TorchFile(path)
    found = states(file.content)
    tensors, note = _choose(path, found, state)

    def read(name: str) -> np.ndarray:
        return file.read(tensors[name])

    found_file = _unwrapped(path, {name: tensor.shape for name, tensor in tensors.items()}, read, note)
    optimizer = file.content.get("optimizer") if isinstance(file.content, Mapping) else None
    return replace(found_file, optimizer=optimizer, tensor=file.read)


def _choose(
    path: Path, found: Mapping[str, Mapping[str, TorchTensor]], state: str | None
) -> tuple[Mapping[str, TorchTensor], str]:
    """The state to read, and a sentence about the others."""
    if not found:
        raise RunError(f"{path}: holds no named tensors; a state dict of PyTorch is a dictionary of them")
    if "" in found:
        _no_state(path, state)
        return found[""], ""
    names = _listed(found)
    if state is not None and state not in found:
        raise UsageError(f"--state {state}: {path} has no such state; it has {names}")
    usual = [name for name in USUAL_STATES if name in found] or list(found)
    if state is None and usual[0] not in USUAL_STATES and len(found) > 1:
        raise UsageError(f"{path}: holds several states: {names}; choose one with --state")
    chosen = state or usual[0]
    others = _listed(set(found) - {chosen})
    note = f"{chosen} was read" + (f"; --state reads another: {others}" if others else "")
    return found[chosen], printable(note)


def _listed(names: Collection[str]) -> str:
    """The first names in their order; a file may have any number of them."""
    return ", ".join(sorted(names)[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")


def _unwrapped(
    path: Path, shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], np.ndarray], note: str
) -> WeightsFile:
    """PyTorch's tensors under their names without the wrapper modules around the network."""
    prefix = _wrapping(list(shapes))
    inner = {name.removeprefix(prefix): shape for name, shape in shapes.items()}
    return WeightsFile(path=path, is_torch=True, shapes=inner, read=lambda name: read(prefix + name), note=note)


def _wrapping(names: Sequence[str]) -> str:
    found = ""
    while names:
        inner = next((w for w in _WRAPPERS if all(name.startswith(found + w) for name in names)), None)
        if inner is None:
            break
        found += inner
    return found
