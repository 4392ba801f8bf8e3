"""Folds of the training images for cross-validation, each held out once, made from labels and seed alone (no TF).

Source: Kohavi, A study of cross-validation and bootstrap, IJCAI 1995, for folds that keep the shares of the classes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path

from utils.errors import UsageError
from utils.records.label_index import stored_labels
from utils.records.manifest import read_manifest
from utils.records.record_files import split_files_by_name
from utils.records.split_files import SplitFiles, load_split
from utils.text import plural

_log = logging.getLogger(__name__)

Stratum = int | None
"""The label of an image; None for a label that is missing or no class."""


def folds_of(data_dir: str | Path, folds: int, seed: int, *, keep: bool = True) -> tuple[SplitFiles, list[int]]:
    """The files of the training split, and the number of the fold of each of its images.

    Args:
        data_dir: Folder of the records.
        folds: Number of folds.
        seed: What decides, with the labels alone.
        keep: Whether the labels of the records may be kept in files.

    Raises:
        UsageError: There are no training images, or a class has fewer than ``folds``.
        RunError: The folder or a file cannot be read.
    """
    files = _training_files(data_dir, folds)
    strata, groups = _strata(files, keep=keep), files.groups
    _check(strata, groups, files, folds)
    if groups is None:
        return files, dealt(strata, folds, seed)
    return files, dealt_groups(strata, groups, folds, seed)


def split_by_fold(files: SplitFiles, assigned: Sequence[int], fold: int) -> dict[str, SplitFiles]:
    """The parts of a split for training and for validation, which is ``fold``."""
    held_out = tuple(index for index, number in enumerate(assigned) if number == fold)
    others = tuple(index for index, number in enumerate(assigned) if number != fold)
    return {
        "train": dataclasses.replace(files, chosen=others),
        "validation": dataclasses.replace(files, chosen=held_out),
    }


def dealt(strata: Sequence[Stratum], folds: int, seed: int) -> list[int]:
    """The fold of each image: the images of a class are shuffled and dealt out, one class after another.

    So the folds differ by at most one in the images of each class, and in all.
    """
    order = sorted(range(len(strata)), key=lambda index: (_place(strata[index]), _key(seed, index), index))
    assigned = [0] * len(strata)
    for place, index in enumerate(order):
        assigned[index] = place % folds
    return assigned


def dealt_groups(strata: Sequence[Stratum], groups: Sequence[Hashable], folds: int, seed: int) -> list[int]:
    """The fold of each image, the same for all images of a group.

    From the largest group to the smallest, each goes to the fold that lacks its classes most, then to the smallest.
    """
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    order = sorted(members, key=lambda group: (-len(members[group]), _key(seed, group), str(group)))
    whole, sizes = Counter(strata), [0] * folds
    counts: list[Counter[Stratum]] = [Counter() for _ in range(folds)]
    assigned = [0] * len(strata)
    for group in order:
        own = Counter(strata[index] for index in members[group])
        crowded = [sum(n * counts[fold][label] / whole[label] for label, n in own.items()) for fold in range(folds)]
        fold = min(range(folds), key=lambda fold: (crowded[fold], sizes[fold], fold))
        counts[fold].update(own)
        sizes[fold] += len(members[group])
        for index in members[group]:
            assigned[index] = fold
    return assigned


def _place(stratum: Stratum) -> tuple[bool, int]:
    return stratum is None, stratum or 0


def _key(seed: int, what: Hashable) -> bytes:
    """A number that depends on its arguments alone, whatever the version of Python or NumPy."""
    return hashlib.blake2b(f"{seed} {what}".encode(), digest_size=8).digest()


def _training_files(data_dir: str | Path, folds: int) -> SplitFiles:
    folder, manifest = Path(data_dir), read_manifest(data_dir)
    there = split_files_by_name(folder) if manifest is None else manifest.splits
    empty = manifest is not None and "train" in there and not manifest.splits["train"].examples
    if there and ("train" not in there or empty):
        raise UsageError(
            f"--folds {folds}: divides the training images, and --data_dir {data_dir} has none; it has "
            f"{', '.join(name for name in there if name != 'train') or 'nothing'}"
        )
    return load_split(data_dir, "train")


def _strata(files: SplitFiles, *, keep: bool) -> list[Stratum]:
    """The label of each image of a split as stored."""
    labels = [one[0] if len(one) == 1 and one[0] >= 0 else None for one in stored_labels(files, keep=keep)]
    manifest = files.manifest
    if manifest is None:
        return labels
    classes = range(manifest.label_offset, manifest.label_offset + manifest.class_count)
    return [label if label in classes else None for label in labels]


def _check(strata: Sequence[Stratum], groups: Sequence[str] | None, files: SplitFiles, folds: int) -> None:
    """Refuses folds that would lack a class; warns of those that must lack one because of the groups."""
    for label, count in sorted((label, count) for label, count in Counter(strata).items() if label is not None):
        if count < folds:
            raise UsageError(
                f"--folds {folds}: {_named(label, files)} has {plural(count, 'training image')}; must be at most the "
                "number of images of the rarest class"
            )
    if groups is None:
        return
    if (number := len(set(groups))) < folds:
        raise UsageError(f"--folds {folds}: the training images are of {plural(number, 'group')}; must be at most that")
    scattered: defaultdict[int, set[str]] = defaultdict(set)
    for stratum, group in zip(strata, groups, strict=True):
        if stratum is not None:
            scattered[stratum].add(group)
    for label, found in sorted(scattered.items()):
        if len(found) < folds:
            _log.warning(
                "--folds %d: the images of %s are of %s, so some folds have none of them",
                folds, _named(label, files), plural(len(found), "group"),
            )  # fmt: skip


def _named(label: int, files: SplitFiles) -> str:
    manifest = files.manifest
    return f"class {label}" if manifest is None else f"class {manifest.class_names[label - manifest.label_offset]}"
