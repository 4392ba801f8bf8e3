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
from tools.convert.sources import (
    Classes,
    ImageSource,
    Notes,
    SourceSet,
    count_images_below,
    images_in,
    read_class_folders,
    subfolders,
)
from utils.errors import RunError, UsageError
from utils.records.record_files import others_sentence, record_files_of_other_names
from utils.suggestions import path_hint
from utils.text import first_few, plural, printable

_DEEP = 2
"""Parts of the path of an image that lies in its class folder itself."""
_VALIDATION_FOLDERS = ("validation", "val")
# Names of splits in other tools, in small letters
_OTHER_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing", "testdev"),
}


def order_key(seed: int, name: str) -> bytes:
    """A sort key that shuffles names: the same for a seed and a name on every machine and Python version."""
    return hashlib.sha256(os.fsencode(f"{seed}:{name}")).digest()


def read_sources(
    root: Path,
    *,
    validation_fraction: float | None = None,
    validation_labels: Path | None = None,
    seed: int = 12345,
    sets_aside: bool = True,
) -> SourceSet:
    """Finds the images of a data set.

    Args:
        root: Holds ``train/`` and ``validation/`` (or ``val/``) with a folder per class, or a tar file of ImageNet in
            place of either, or class folders alone, which then are all for training. Other usual names, such as
            ``Train/`` or ``valid/``, count if the folders around them show that they are splits.
        validation_fraction: The fraction of each class's training images to set aside if there is no validation split.
        validation_labels: The labels of a validation folder or tar file without class folders.
        seed: Selects the images that ``validation_fraction`` sets aside.
        sets_aside: Whether it is done here.

    Raises:
        RunError: There is no such folder, no class or no image, or training lacks a validation class.
        UsageError: A flag does not fit the source.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "no such folder"
        raise RunError(f"{root}: {what} to convert from{path_hint(root)}")
    notes = Notes()
    train_at, validation_at = _locate_splits(root, notes)
    if train_at is None and validation_at is None:
        train_at = root
    else:
        _note_unused(root, [place for place in (train_at, validation_at) if place is not None], notes)
    splits: dict[str, Classes] = {}
    if train_at is not None:
        splits["train"] = _read_train(root, train_at, notes)
        if train_at == root:
            _note_deep_classes(root, splits["train"], notes)
    if validation_at is not None:
        splits["validation"] = _read_validation(root, validation_at, validation_labels, notes)
    elif validation_labels is not None:
        raise UsageError(f"--validation_labels {validation_labels}: {root} has no validation images that need it")
    if sets_aside:
        _apply_fraction(root, splits, validation_fraction, seed, notes)
    folders = _check_classes(root, splits, notes)
    if train_at is not None and validation_at is not None and train_at.resolve() == validation_at.resolve():
        notes.sentences.append(f"{train_at} and {validation_at.name} are one folder: validation sees training images")
    read = tuple(place for place in (train_at, validation_at) if place is not None)
    return SourceSet(class_folders=folders, splits=splits, folders_read=read, notes=tuple(notes.text()))


def _one_of(root: Path, names: Sequence[str]) -> Path | None:
    there = [root / name for name in names if (root / name).exists()]
    if len(there) > 1:
        raise RunError(f"{root}: has {' and '.join(path.name for path in there)} for one split; keep one of them")
    return there[0] if there else None


def _class_tars(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".tar" and not path.name.startswith("."))


def _locate_splits(root: Path, notes: Notes) -> tuple[Path | None, Path | None]:
    """The places of the training and the validation images; None for both if the root holds the classes."""
    exact = {"train": _locate_train(root), "validation": _locate_validation(root)}
    used = [place for place in exact.values() if place is not None]
    found = _split_like_folders(root, used)
    alike = [path for paths in found.values() for path in paths]
    others = _folders_beside(root, [*used, *alike])
    names = first_few([f"{path.name}/" for path in alike])
    if alike and not used and not others and not found["train"]:
        raise RunError(f"{root}: holds {names} and no train/; by their names these are no training images")
    alone = len(used) + len(alike) == 1
    if not (exact["train"] or found["train"]) or (alone and others):
        if alike and not used:
            notes.sentences.append(f"{root}: taken for classes, like the folders beside them: {names}")
        return exact["train"], exact["validation"]
    for split, place in exact.items():
        places = [*([place] if place else []), *found[split]]
        if len(places) > 1:
            both = " and ".join(path.name for path in places)
            raise RunError(f"{root}: has {both} for one split; keep one of them")
        if found[split]:
            exact[split] = found[split][0]
            notes.sentences.append(f"{exact[split]}: taken for the {split} images")
    return exact["train"], exact["validation"]


def _split_like_folders(root: Path, used: Sequence[Path]) -> dict[str, list[Path]]:
    """The other folders of the root that are named like a split, and divided into folders like one."""
    found: dict[str, list[Path]] = {split: [] for split in _OTHER_FOLDERS}
    for path in _folders_beside(root, used):
        split = next((split for split, names in _OTHER_FOLDERS.items() if path.name.casefold() in names), None)
        if split is not None and subfolders(path):
            found[split].append(path)
    return found


def _folders_beside(root: Path, used: Sequence[Path]) -> list[Path]:
    """The folders in the root, but for some of them, which may be spelt in other capitals."""
    folders = (root / name for name in subfolders(root))
    return [path for path in folders if not any(_is_same(path, other) for other in used)]


def _is_same(path: Path, other: Path) -> bool:
    """Returns whether two paths differ in nothing but capitals, on a disk that ignores these; links are others."""
    return path.name.casefold() == other.name.casefold() and path.samefile(other)


def _note_deep_classes(root: Path, classes: Classes, notes: Notes) -> None:
    """Names classes that look like splits, or like a folder around the classes: all their images lie in folders."""
    inner: dict[str, set[str]] = {}
    for name, images in classes.items():
        parts = [image.name.split("/") for image in images]
        if parts and all(len(part) > _DEEP for part in parts):
            inner[name] = {part[1] for part in parts}
    if len(classes) == 1 and inner:
        ((name, found),) = inner.items()
        notes.sentences.append(
            f"{root}: its only folder, {printable(name)}, became one class, with all images in the folders "
            f"{first_few(sorted(found))}; if these are classes or splits, convert {root / name}"
        )
    several = {name: found for name, found in inner.items() if len(found) > 1}
    alike = [name for name in several if any(several[name] == several[other] for other in several if other != name)]
    if alike:
        notes.sentences.append(
            f"{root}: {first_few(alike)} became classes, though each holds the same folders, as splits do: "
            f"{first_few(sorted(several[alike[0]]))}; if they are splits, name them train and validation"
        )


def _note_unused(root: Path, used: Sequence[Path], notes: Notes) -> None:
    """Names the folders and images beside the splits."""
    for path in _folders_beside(root, used):
        count = count_images_below(path)
        notes.sentences.append(f"{path}: not used, being no folder of a split: {plural(count, 'image')}")
    loose = len(images_in(root, "", Notes()))
    if loose:
        notes.loose_images[str(root)] += loose


def _locate_train(root: Path) -> Path | None:
    place = _one_of(root, ("train", TRAIN_TAR))
    if place is not None and place.is_dir() and not subfolders(place) and not _class_tars(place):
        if len(subfolders(root)) > 1 and images_in(place, "train/", Notes()) and not _locate_validation(root):
            return None  # a class named "train" among others
        raise _no_images(root, f"{place}: holds no class folders; it must hold one for each class")
    return place


def _no_images(root: Path, fault: str) -> RunError:
    """The error for a folder without images; names record files with the names of another tool."""
    others = record_files_of_other_names(root)
    return RunError(f"{root}: holds {others_sentence(root, others)}" if others else fault)


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
    if splits["train"] and not any(taken.values()):
        raise UsageError(
            f"--validation_fraction {fraction:g}: no class of {root} has two images, so none can be set aside"
        )
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
        fault = f"{root}: holds no class folders; it must hold one for each class, or train/ and validation/"
        raise _no_images(root, fault)
    unknown = sorted(set(splits.get("validation", {})) - set(known))
    if unknown:
        shown = ", ".join(printable(name) for name in unknown[:5]) + (" ..." if len(unknown) > 5 else "")
        raise RunError(
            f"{root}: its validation images have {plural(len(unknown), 'class')} that training lacks: {shown}"
        )
    if not any(images for classes in splits.values() for images in classes.values()):
        raise _no_images(root, f"{root}: holds {plural(len(known), 'class folder')} but no image in them")
    _note_classes_without([name for name in sorted(known) if not known[name]], "no images; it keeps its label", notes)
    if len(splits) > 1:
        validated = splits["validation"]
        lacking = [name for name in sorted(known) if known[name] and not validated.get(name)]
        _note_classes_without(lacking, "no validation image", notes)
    return tuple(sorted(known))


def _note_classes_without(names: Sequence[str], what: str, notes: Notes) -> None:
    if len(names) == 1:
        notes.sentences.append(f"the class {printable(names[0])} has {what}")
    elif names:
        what = what.replace("it keeps its label", "they keep their labels")
        notes.sentences.append(f"{plural(len(names), 'class')} have {what}: {first_few(names)}")
