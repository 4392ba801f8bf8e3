"""Rewrites whole checkpoints in memory: with the classifier in its other form, or as the mean of several."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from utils.checkpoints import STATE, find_checkpoint
from utils.errors import RunError, UsageError, reason
from utils.files.atomic_file import write_atomically
from utils.host_session import on_host
from utils.optimizer_table import slot_names
from utils.suggestions import absence, nearest, path_hint
from utils.text import plural
from utils.weights.checkpoint_contents import is_weight, stored_shapes, stored_values
from utils.weights.checkpoint_files import checksums_of, read_metadata, sealed, steps_in
from utils.weights.description import PREFIX
from utils.weights.moving_averages import name_of_average

tf1 = tf.compat.v1

CLASSIFIER = "/output/dense/kernel"
OF_ONE_MOMENT = ("best", "evaluation", "optimizer", "update")
"""Metadata keys that describe a checkpoint's own weights and do not hold for others."""
OF_ONE_NETWORK = (
    *("architecture", "num_classes", "class_names", "label_offset", "category_ids", "preprocessing"),
    "multi_label",
)
"""Metadata keys that checkpoints must share for the mean of their weights to be a network."""


def rewrite_classifier(source: Path, layer: str | None, output: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rewrites a checkpoint with the kernel of its classifier in the other form: [C, K] or [1, 1, C, K].

    The kernel's slots and its moving average get the new shape too; everything else stays. Writes ``new.ckpt``.

    Args:
        source: A checkpoint's prefix or folder.
        layer: The kernel's name; None for the checkpoint's only ``<architecture>/output/dense/kernel``.
        output: A new folder.

    Returns:
        The kernel's shape before and after.

    Raises:
        UsageError: The folder exists, or no kernel has that name or a suitable shape.
        RunError: The checkpoint is missing or damaged, a weight is not finite, or writing failed.
    """
    _require_new(output)
    prefix = _checkpoint(source)
    layer = _kernel(stored_shapes(prefix), layer)
    tensors = read_all(prefix)
    before = tensors[layer].shape
    after = before[2:] if len(before) == 4 else (1, 1, *before)
    for name in (layer, *slot_names(layer), name_of_average(layer)):
        if name in tensors:
            tensors[name] = tensors[name].reshape(after)
    metadata = read_metadata(prefix)
    if metadata is not None:
        metadata = {**metadata, "use_final_conv": len(after) == 4}
    write_folder(output, "new.ckpt", tensors, metadata)
    return before, after


def _kernel(shapes: Mapping[str, Sequence[int]], layer: str | None) -> str:
    """The name of a kernel with two possible forms."""
    usual = [name for name in shapes if name.endswith(CLASSIFIER)]
    if layer is None:
        if len(usual) != 1:
            raise UsageError(f"--dense_layer: required, as the checkpoint has {len(usual)} variables *{CLASSIFIER}")
        layer = usual[0]
    if layer not in shapes:
        near = nearest(layer, shapes) or usual or sorted(shapes)[:3]
        raise UsageError(f"--dense_layer {layer}: the checkpoint has no such variable; it has {', '.join(near)}")
    shape = list(shapes[layer])
    if not (len(shape) == 2 or (len(shape) == 4 and shape[:2] == [1, 1])):
        raise UsageError(f"--dense_layer {layer}: has shape {shape}; must be [C, K] or [1, 1, C, K]")
    return layer


def average_weights(sources: Sequence[Path], last: int | None, output: Path) -> list[Path]:
    """Writes the mean of several checkpoints' weights and batch-norm statistics.

    Leaves out the optimizer state and the moving averages. Step and metadata are those of the last checkpoint.

    Args:
        sources: Prefixes, and folders that stand for all of their checkpoints.
        last: Number of checkpoints to average, those of the highest steps; None for all.
        output: A new folder.

    Returns:
        The prefixes of the averaged checkpoints.

    Raises:
        UsageError: The folder exists, or there are fewer than two checkpoints, or fewer than ``last``.
        RunError: Checkpoints differ in network, are missing or damaged, a weight is not finite, or writing failed.
    """
    _require_new(output)
    prefixes = sorted(dict.fromkeys(found for source in sources for found in _all_in(source)), key=_step)
    if len(prefixes) < (last or 0):
        raise UsageError(f"--last {last}: found only {plural(len(prefixes), 'checkpoint')}")
    prefixes = prefixes[-last:] if last else prefixes
    if len(prefixes) < 2:
        raise UsageError(f"{', '.join(map(str, prefixes))}: a mean needs two checkpoints or more")
    metadata = [read_metadata(prefix) for prefix in prefixes]
    _require_alike(prefixes, metadata)
    newest = read_all(prefixes[-1])
    names = [name for name in newest if is_weight(name) and np.issubdtype(newest[name].dtype, np.floating)]
    sums = {name: newest[name].astype(np.float64) for name in names}
    for prefix in prefixes[:-1]:
        tensors = read_all(prefix, names)
        for name in names:
            sums[name] += tensors[name]
    means = {name: (sums[name] / len(prefixes)).astype(newest[name].dtype) for name in names}
    rest = {name: value for name, value in newest.items() if is_weight(name) and name not in names}
    step = _step(prefixes[-1])
    kept = {key: value for key, value in (metadata[-1] or {}).items() if key not in OF_ONE_MOMENT}
    described = kept | {"mean_of": [prefix.name for prefix in prefixes]} if metadata[-1] is not None else None
    write_folder(output, f"{PREFIX}-{step}", {**means, **rest, "global_step": np.asarray(step, np.int64)}, described)
    return prefixes


def _all_in(source: Path) -> Iterator[Path]:
    if source.is_dir() and (steps := steps_in(source)):
        yield from (source / f"{PREFIX}-{step}" for step in steps)
    else:
        yield _checkpoint(source)


def _checkpoint(source: Path) -> Path:
    prefix = find_checkpoint(source)
    if prefix is None:
        raise RunError(f"{source}: {absence(source)}{path_hint(source)}")
    return prefix


def _step(prefix: Path) -> int:
    """The step stored in a checkpoint, or 0."""
    if "global_step" not in stored_shapes(prefix):
        return 0
    return int(stored_values(prefix, {"step": "global_step"})["step"])


def _require_alike(prefixes: Sequence[Path], metadata: Sequence[Mapping[str, Any] | None]) -> None:
    last, meaning = prefixes[-1], metadata[-1] or {}
    wanted = {name: list(shape) for name, shape in stored_shapes(last).items() if is_weight(name)}
    for prefix, theirs in zip(prefixes[:-1], metadata[:-1], strict=True):
        for key in OF_ONE_NETWORK:
            if (theirs or {}).get(key) != meaning.get(key):
                raise RunError(f"{prefix}: its {key} differs from that of {last}; a mean needs one network")
        found = {name: list(shape) for name, shape in stored_shapes(prefix).items() if is_weight(name)}
        for name in sorted(wanted.keys() | found.keys()):
            if wanted.get(name) != found.get(name):
                raise RunError(
                    f"{prefix}: {name} is {found.get(name, 'missing')}, in {last} {wanted.get(name, 'missing')}; "
                    "a mean needs one network"
                )


def read_all(prefix: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The values of a checkpoint by name; all by default.

    Raises:
        RunError: The files are damaged, or a number is not finite.
    """
    wanted = stored_shapes(prefix) if names is None else names
    return stored_values(prefix, {name: name for name in wanted})


def write_folder(
    output: Path, name: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any] | None
) -> Path:
    """Writes a folder with one checkpoint, its state file and its metadata; the folder is complete or absent.

    Raises:
        RunError: Writing failed.
    """
    staging = output.with_name(f".{output.name}.part")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        _write_tensors(staging / name, tensors)
        if metadata is not None:
            (staging / f"{name}.json").write_bytes(sealed(metadata, checksums_of(staging / name)))
        state = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
        write_atomically(staging / STATE, state.encode())
        staging.rename(output)
    except (OSError, tf.errors.OpError) as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise RunError(f"--output {output}: cannot be written: {reason(error)}") from error
    return output / name


def _write_tensors(prefix: Path, tensors: Mapping[str, np.ndarray]) -> None:
    names = sorted(tensors)
    with tf.Graph().as_default(), tf1.Session(config=on_host()) as session:
        fed = [tf1.placeholder(tensors[name].dtype, np.shape(tensors[name])) for name in names]
        save = tf.raw_ops.SaveV2(
            prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=fed
        )
        session.run(save, dict(zip(fed, (tensors[name] for name in names), strict=True)))


def _require_new(output: Path) -> None:
    if output.exists():
        raise UsageError(f"--output {output}: already exists; name a new folder")
