"""Writes a checkpoint of this program as a training checkpoint of timm: weights, and the optimizer if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from model.checkpoint_names import torch_sources
from model.specs import RESNETS
from tools.measure.compare.timm_network import timm_name
from tools.weights.torch_optimizers import ROWS, torch_state
from tools.weights.torch_writing import write_torch
from utils.config import CLASSIFIERS
from utils.errors import RunError, UsageError, reason
from utils.optimizer_table import DEFAULT_OPTIMIZER, OPTIMIZERS
from utils.weights.pretrained_config import PRETRAINED_CONFIGS, PretrainedConfig

FILE = "last.pth.tar"
NUMBERS = "update"
"""Key of the optimizer's numbers in the description of a checkpoint."""
_ORDER = ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "se", "downsample")
_VERSION = 2  # of timm's training checkpoints: "epoch" is the last one that was finished


def check_timm(architecture: str, pretrained: PretrainedConfig) -> None:
    """Refuses weights with which timm's networks would compute something else.

    Raises:
        UsageError: timm lacks the network, or a setting that the weights need.
    """
    if architecture not in CLASSIFIERS:
        raise UsageError(f"--to timm: only for {', '.join(CLASSIFIERS)}, not {architecture}")
    if pretrained.network != PRETRAINED_CONFIGS["torch"].network:
        raise UsageError(
            f"--to timm: these weights need {pretrained.summary()}, but timm's networks have symmetric padding and "
            "epsilon 1e-05; only weights that began as timm's or torchvision's can go back"
        )


def write_timm(
    folder: Path, architecture: str, values: Mapping[str, np.ndarray], known: Mapping[str, Any], *, state: bool
) -> tuple[Path, str]:
    """Writes a file that timm resumes from.

    Args:
        folder: Folder of the file.
        architecture: The network.
        values: Its variables by name, with the slots of an optimizer if there are any.
        known: Its description.
        state: Whether the optimizer belongs to these weights.

    Returns:
        The file, and a sentence about the optimizer.

    Raises:
        RunError: Writing failed.
    """
    weights = {theirs: _to_torch(ours, values[ours]) for ours, theirs in _names(architecture).items() if ours in values}
    content = {"epoch": max(known.get("position", {}).get("epoch", 0) - 1, 0), "arch": timm_name(architecture)}
    content |= {"state_dict": weights, "version": _VERSION}
    optimizer, sentence = _optimizer(architecture, values, known) if state else (None, _without("they are averages"))
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_torch(path, content if optimizer is None else {**content, "optimizer": optimizer})
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {reason(error)}") from error
    return path, sentence


def _optimizer(
    architecture: str, values: Mapping[str, np.ndarray], known: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, str]:
    """The state of the optimizer for timm, or None, and a sentence about it."""
    name, numbers = known.get("optimizer", DEFAULT_OPTIMIZER), known.get(NUMBERS)
    row = next((row for row in ROWS if row.name == name), None)
    if row is None:
        return None, _without(f"timm has none that computes as {name} here")
    slots = {}
    for ours, theirs in _names(architecture).items():
        own = [values[key] for slot in OPTIMIZERS[name].slots if (key := f"{ours}/{slot}") in values]
        if len(own) == len(OPTIMIZERS[name].slots):
            slots[theirs] = [_to_torch(ours, array) for array in own]
    trained = [theirs for theirs in _names(architecture).values() if not theirs.endswith(("_mean", "_var"))]
    if numbers is None or len(slots) < len(trained):
        return None, _without("the checkpoint has no state for all of them, or does not tell its numbers")
    biases = (
        "" if (known.get("tuning") or {}).get("no_bias_decay") else "; there biases do not decay, but here they did"
    )
    found = torch_state(row, slots, numbers, int(values.get("global_step", 0)))
    return found, f"with the state of {name} in timm's groups of parameters{biases}"


def _without(why: str) -> str:
    return f"weights alone, without an optimizer: {why}"


def _names(architecture: str) -> dict[str, str]:
    """The name at timm of each of our variables, in the order of its network."""
    return dict(sorted(torch_sources(architecture, ()).items(), key=lambda pair: _place(pair[1])))


def _place(name: str) -> tuple[int, int, int]:
    parts = name.split(".")
    if parts[0].startswith("layer"):
        return int(parts[0].removeprefix("layer")), int(parts[1]), _ORDER.index(parts[2])
    return (99, 0, 0) if parts[0] == "fc" else (0, 0, _ORDER.index(parts[0]))


def _to_torch(name: str, array: np.ndarray) -> np.ndarray:
    """An array in PyTorch's layout: kernels [out, in, H, W], matrices [out, in], in gates [out, in, 1, 1]."""
    architecture = name.split("/")[0]
    array = np.asarray(array, np.float32)
    if name.endswith("/output/dense/kernel"):
        return np.ascontiguousarray(array.reshape(array.shape[-2:]).T)
    if array.ndim == 4:
        return np.ascontiguousarray(array.transpose(3, 2, 0, 1))
    if array.ndim == 2:
        squeeze = f"/{RESNETS[architecture].names.squeeze}/" in name
        return np.ascontiguousarray(array.T.reshape((*array.T.shape, 1, 1) if squeeze else array.T.shape))
    return array
