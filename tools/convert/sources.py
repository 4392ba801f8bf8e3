"""The images of a data set and their classes, found in folders or tar files (no TF)."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from utils.errors import RunError
from utils.images.image_files import has_image_name, kind_of_file, passed_over
from utils.text import plural, printable, similar_names

SYNSET = re.compile(r"n\d{8}")


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One image: ``name`` is its path below the source folder, with "/" between the parts.

    With an ``archive`` (also a path below the source folder) the image is ``size`` bytes from ``offset`` in that file,
    and ``name`` is its path once the archive is extracted.
    """

    name: str
    size: int
    modified_ns: int
    archive: str | None = None
    offset: int = 0


Classes = dict[str, list[ImageSource]]


@dataclass(slots=True)
class Notes:
    """Files that a scan passed over, reported at its end in one sentence per kind."""

    other_files: Counter[str] = field(default_factory=Counter)
    loose_images: Counter[str] = field(default_factory=Counter)
    nested: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    def text(self) -> list[str]:
        """The notes as sentences."""
        lines = list(self.sentences)
        if self.other_files:
            lines.append(passed_over(self.other_files))
        for folder, count in sorted(self.loose_images.items()):
            lines.append(f"{folder}: not used, being in no class folder: {plural(count, 'image')}")
        if self.nested:
            first = min(self.nested)
            lines.append(
                f"counted for the class, though in a folder inside the class folder (as in {first}): "
                f"{plural(self.nested.total(), 'image')} of {plural(len(self.nested), 'class')}"
            )
        lines.extend(f"{name}: is a link to a folder above it, and was not followed" for name in sorted(self.loops))
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSet:
    """A data set as found: class folders in label order, the images of every split by class, and the folders read."""

    class_folders: tuple[str, ...]
    splits: Mapping[str, Classes]
    folders_read: tuple[Path, ...]
    notes: tuple[str, ...]

    @property
    def is_imagenet(self) -> bool:
        """Returns whether the classes are WordNet synsets."""
        return all(SYNSET.fullmatch(folder) for folder in self.class_folders)


def class_of_folder(name: str, where: str) -> str:
    """The class that a folder (or tar file) stands for: its name in Unicode's composed form.

    File systems differ in how they store accents, so that train/ and validation/ may disagree on the bytes of one name.
    """
    try:
        text = os.fsencode(name).decode()  # whatever the locale says
    except UnicodeDecodeError as error:
        raise RunError(f"{where}: {printable(name)}: the name of a class folder must be valid UTF-8") from error
    return unicodedata.normalize("NFC", text)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise RunError(f"{folder}: cannot be listed ({error.strerror})") from error


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in ``folder`` that are not hidden."""
    return [entry.name for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith(".")]


def images_in(folder: Path, prefix: str, notes: Notes) -> list[ImageSource]:
    """The images that lie in ``folder`` itself, in name order; ``prefix`` is the folder's path below the source."""
    return [_image(entry, prefix) for entry in _entries(folder) if not entry.is_dir() and _is_image(entry, notes)]


def _is_image(entry: os.DirEntry[str], notes: Notes) -> bool:
    if has_image_name(entry.name):
        return True
    notes.other_files[kind_of_file(entry.name)] += 1
    return False


def _image(entry: os.DirEntry[str], prefix: str) -> ImageSource:
    try:
        status = entry.stat()
    except OSError:  # a dangling link: an unreadable image, reported with all others
        return ImageSource(prefix + entry.name, -1, 0)
    return ImageSource(prefix + entry.name, status.st_size, status.st_mtime_ns)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def count_images_below(folder: Path) -> int:
    """The number of images in a folder and the folders in it."""
    return sum(1 for _ in _images_below(folder, "", Notes(), ()))


def _images_below(folder: Path, prefix: str, notes: Notes, above: tuple[tuple[int, int], ...]) -> Iterator[ImageSource]:
    here = _identity(folder)
    if here in above:
        notes.loops.append(printable(prefix.rstrip("/")))
        return
    for entry in _entries(folder):
        if not entry.is_dir():
            if _is_image(entry, notes):
                yield _image(entry, prefix)
        elif not entry.name.startswith("."):
            yield from _images_below(Path(entry.path), f"{prefix}{entry.name}/", notes, (*above, here))


def read_class_folders(folder: Path, prefix: str, notes: Notes) -> Classes:
    """The images below each folder of ``folder``, at any depth; every such folder is a class.

    Args:
        folder: A folder of class folders.
        prefix: Its path below the source, "" or ending in "/".
        notes: Collects the files passed over.

    Raises:
        RunError: Two folder names differ only in how accents are encoded, two are links to one folder, or a folder
            cannot be listed.
    """
    classes: Classes = {}
    above = tuple(_identity(place) for place in (folder, *folder.resolve().parents))
    names: dict[tuple[int, int], str] = {}
    for name in subfolders(folder):
        here = _identity(folder / name)
        if here in above:
            notes.loops.append(printable(prefix + name))
            continue
        if here in names:
            raise RunError(f"{folder}: {printable(names[here])} and {printable(name)} are one folder under two names")
        names[here] = name
        class_name = class_of_folder(name, str(folder))
        if class_name in classes:
            raise RunError(f"{folder}: two folders are both named {printable(class_name)}, written in different bytes")
        start = f"{prefix}{name}/"
        classes[class_name] = list(_images_below(folder / name, start, notes, above))
        if nested := sum("/" in image.name[len(start) :] for image in classes[class_name]):
            notes.nested[printable(prefix + name)] += nested
    loose = len(images_in(folder, prefix, notes if prefix else Notes()))
    if loose:
        notes.loose_images[printable(prefix.rstrip("/")) or str(folder)] += loose
    notes.sentences += [f"{prefix or folder}: the classes {text}" for text in similar_names(list(classes))]
    return classes
