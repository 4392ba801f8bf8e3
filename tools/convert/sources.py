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
from utils.text import plural, printable

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


def is_image_name(name: str) -> bool:
    """Returns whether a file of this name is read as an image; hidden files (``.DS_Store``, ``._1.jpg``) are not."""
    return not name.startswith(".") and has_image_name(name)


def class_of_folder(name: str, where: str) -> str:
    """The class that a folder (or tar file) stands for: its name in Unicode's composed form.

    File systems differ in how they store accents, so that train/ and validation/ may disagree on the bytes of one name.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise RunError(f"{where}: {printable(name)}: the name of a class folder must be valid UTF-8") from error
    return unicodedata.normalize("NFC", name)


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
    if is_image_name(entry.name):
        return True
    notes.other_files[kind_of_file(entry.name)] += 1
    return False


def _image(entry: os.DirEntry[str], prefix: str) -> ImageSource:
    try:
        status = entry.stat()
    except OSError:  # a dangling link: an unreadable image, reported with all others
        return ImageSource(prefix + entry.name, -1, 0)
    return ImageSource(prefix + entry.name, status.st_size, status.st_mtime_ns)


def _images_below(folder: Path, prefix: str, notes: Notes, above: tuple[tuple[int, int], ...]) -> Iterator[ImageSource]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
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
        RunError: Two folder names differ only in how accents are encoded, or a folder cannot be listed.
    """
    classes: Classes = {}
    for name in subfolders(folder):
        class_name = class_of_folder(name, str(folder))
        if class_name in classes:
            raise RunError(f"{folder}: two folders are both named {printable(class_name)}, written in different bytes")
        start = f"{prefix}{name}/"
        classes[class_name] = list(_images_below(folder / name, start, notes, ()))
        if nested := sum("/" in image.name[len(start) :] for image in classes[class_name]):
            notes.nested[printable(prefix + name)] += nested
    loose = len(images_in(folder, prefix, notes if prefix else Notes()))
    if loose:
        notes.loose_images[printable(prefix.rstrip("/")) or str(folder)] += loose
    _note_similar_names(classes, prefix or str(folder), notes)
    return classes


def _note_similar_names(classes: Classes, where: str, notes: Notes) -> None:
    by_fold: dict[str, list[str]] = {}
    for name in classes:
        by_fold.setdefault(name.casefold().strip(), []).append(printable(name))
    for names in by_fold.values():
        if len(names) > 1:
            notes.sentences.append(f"{where}: the classes {' and '.join(names)} differ only in capitals or blanks")
