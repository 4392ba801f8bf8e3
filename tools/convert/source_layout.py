"""The layout of a source: its folders or tar files of training and validation images (no TF)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from tools.convert.imagenet_archives import (
    TRAIN_TAR,
    VALIDATION_TAR,
    label_flat_images,
    read_class_tars,
    read_flat_tar,
    read_train_tar,
)
from tools.convert.sources import Classes, ImageSource, Notes, SourceSet, images_in, read_class_folders, subfolders
from utils.errors import RunError, UsageError
from utils.suggestions import path_hint
from utils.text import plural, printable

_VALIDATION_FOLDERS = ("validation", "val")


def order_key(seed: int, name: str) -> bytes:
    """A sort key that shuffles names: the same for a seed and a name on every machine and Python version."""
    return hashlib.sha256(os.fsencode(f"{seed}:{name}")).digest()


def read_sources(
    root: Path, *, validation_fraction: float | None = None, validation_labels: Path | None = None, seed: int = 12345
) -> SourceSet:
    """Finds the images of a data set.

    Args:
        root: Holds ``train/`` and ``validation/`` (or ``val/``) with a folder per class, or a tar file of ImageNet in
            place of either, or class folders alone, which then are all for training.
        validation_fraction: The fraction of each class's training images to set aside if there is no validation split.
        validation_labels: The labels of a validation folder or tar file without class folders.
        seed: Selects the images that ``validation_fraction`` sets aside.

    Raises:
        RunError: There is no such folder, no class or no image, or training lacks a validation class.
        UsageError: A flag does not fit the source.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise RunError(f"{root}: {what} to convert from{path_hint(root)}")
    notes = Notes()
    train_at, validation_at = _locate_train(root), _locate_validation(root)
    if train_at is None and validation_at is None:
        train_at = root
    splits: dict[str, Classes] = {}
    if train_at is not None:
        splits["train"] = _read_train(root, train_at, notes)
    if validation_at is not None:
        splits["validation"] = _read_validation(root, validation_at, validation_labels, notes)
    elif validation_labels is not None:
        raise UsageError(f"--validation_labels {validation_labels}: {root} has no validation images that need it")
    _apply_fraction(root, splits, validation_fraction, seed, notes)
    folders = _check_classes(root, splits, notes)
    read = tuple(place for place in (train_at, validation_at) if place is not None)
    return SourceSet(class_folders=folders, splits=splits, folders_read=read, notes=tuple(notes.text()))


def _one_of(root: Path, names: Sequence[str]) -> Path | None:
    there = [root / name for name in names if (root / name).exists()]
    if len(there) > 1:
        raise RunError(f"{root}: has {' and '.join(path.name for path in there)} for one split; keep one of them")
    return there[0] if there else None


def _class_tars(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".tar" and not path.name.startswith("."))


def _locate_train(root: Path) -> Path | None:
    place = _one_of(root, ("train", TRAIN_TAR))
    if place is not None and place.is_dir() and not subfolders(place) and not _class_tars(place):
        if len(subfolders(root)) > 1 and images_in(place, "train/", Notes()) and not _locate_validation(root):
            return None  # a class named "train" among others
        raise RunError(f"{place}: holds no class folders; it must hold one for each class")
    return place


def _locate_validation(root: Path) -> Path | None:
    return _one_of(root, (*_VALIDATION_FOLDERS, VALIDATION_TAR))


def _read_train(root: Path, place: Path, notes: Notes) -> Classes:
    if place.is_file():
        return read_train_tar(root, notes)
    if place == root:
        return read_class_folders(root, "", notes)
    if not subfolders(place):
        return read_class_tars(root, place.name, _class_tars(place), notes)
    return read_class_folders(place, f"{place.name}/", notes)


def _read_validation(root: Path, place: Path, labels: Path | None, notes: Notes) -> Classes:
    prefix = f"{place.name}/"
    if place.is_dir() and subfolders(place):
        if labels is not None:
            raise UsageError(f"--validation_labels {labels}: {place} has class folders, which give the labels")
        return read_class_folders(place, prefix, notes)
    images = images_in(place, prefix, notes) if place.is_dir() else read_flat_tar(root, notes)
    if not images:
        raise RunError(f"{place}: holds neither class folders nor images")
    if labels is None:
        raise UsageError(
            f"{place}: holds {plural(len(images), 'image')} and no class folders, so --validation_labels FILE must "
            "give the labels: one synset a line in the order of the file names, or ILSVRC2012_devkit_t12.tar.gz"
        )
    return label_flat_images(images, labels)


def _apply_fraction(root: Path, splits: dict[str, Classes], fraction: float | None, seed: int, notes: Notes) -> None:
    if fraction is not None and not 0.0 < fraction < 1.0:
        raise UsageError(f"--validation_fraction {fraction:g}: must be above 0 and below 1")
    if "validation" in splits:
        if fraction is not None:
            raise UsageError(f"--validation_fraction {fraction:g}: {root} already has validation images")
        if "train" not in splits:
            notes.sentences.append(f"{root}: has validation images only, so there will be no training records")
        return
    if fraction is None:
        notes.sentences.append(
            f"{root}: has no validation folder, so all images become training records; --validation_fraction sets "
            "some aside"
        )
        return
    kept, taken = {}, {}
    for name, images in splits["train"].items():
        kept[name], taken[name] = _divide(images, fraction, seed)
    splits["train"], splits["validation"] = kept, taken


def _divide(images: list[ImageSource], fraction: float, seed: int) -> tuple[list[ImageSource], list[ImageSource]]:
    """Training and validation images of one class; with two or more images, each side gets at least one."""
    count = min(len(images) - 1, max(1, round(fraction * len(images)))) if len(images) > 1 else 0
    shuffled = sorted(images, key=lambda image: order_key(seed, image.name))
    return shuffled[count:], shuffled[:count]


def _check_classes(root: Path, splits: dict[str, Classes], notes: Notes) -> tuple[str, ...]:
    """The class folders in label order."""
    known = splits.get("train", splits.get("validation", {}))
    if not known:
        raise RunError(f"{root}: holds no class folders; it must hold one for each class, or train/ and validation/")
    unknown = sorted(set(splits.get("validation", {})) - set(known))
    if unknown:
        shown = ", ".join(printable(name) for name in unknown[:5]) + (" ..." if len(unknown) > 5 else "")
        raise RunError(
            f"{root}: its validation images have {plural(len(unknown), 'class')} that training lacks: {shown}"
        )
    if not any(images for classes in splits.values() for images in classes.values()):
        raise RunError(f"{root}: holds {plural(len(known), 'class folder')} but no image in them")
    for name, images in sorted(known.items()):
        if not images:
            notes.sentences.append(f"the class {printable(name)} has no images; it keeps its label")
    return tuple(sorted(known))
