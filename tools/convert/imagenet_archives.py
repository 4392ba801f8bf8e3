"""Reads ImageNet's tar files in place, and the labels of its flat validation folder (no TF)."""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, Self

from tools.convert.sources import SYNSET, Classes, ImageSource, Notes, class_of_folder
from utils.errors import RunError, UsageError
from utils.files.regular_file import open_regular, read_regular
from utils.images.image_files import has_image_name, kind_of_file
from utils.suggestions import path_hint
from utils.text import plural, printable

TRAIN_TAR = "ILSVRC2012_img_train.tar"
VALIDATION_TAR = "ILSVRC2012_img_val.tar"
_TRUTH_FILE = "ILSVRC2012_validation_ground_truth.txt"
_META_FILE = "meta.mat"
_LARGEST_EXTENSION = 2**20
"""The most bytes that a long name or PAX fields may have, as they are read into memory."""
_LARGEST_DEVKIT_FILE = 64 * 2**20
_FULL_CLASSES, _FULL_TRAIN, _FULL_VALIDATION = 1000, 1_281_167, 50_000


class _Header(tarfile.TarInfo):
    """The header of a member of a tar file, checked before the size is used to read or seek.

    ``tarfile`` takes a damaged header after the first for the end of the archive, which would lose the rest.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Parses a header.

        Raises:
            tarfile.ReadError: Its size is negative, or too large for an extension of a header.
        """
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _EXTENSIONS and header.size > _LARGEST_EXTENSION):
            raise tarfile.ReadError(f"{printable(header.name)} has an impossible size, {header.size}")
        return header

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """Reads the next header with its extensions.

        Raises:
            tarfile.ReadError: It is damaged or cut off.
        """
        file: Any = archive.fileobj
        begin = file.tell()
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            file.seek(begin)
            if file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE):
                raise  # the mark of the end
            raise tarfile.ReadError(f"a header is damaged or missing: {error}") from error


_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_HEADER_ERRORS = (tarfile.TarError, ValueError, IndexError, OverflowError, RecursionError)
"""The errors of ``tarfile`` on damaged headers."""


def _sound(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yields the members of an archive; their fields may come from extensions, which are checked here."""
    for member in archive:
        if member.size < 0 or not abs(member.mtime) < 2**63:
            raise tarfile.ReadError(f"{printable(member.name)} has an impossible size or time")
        yield member


def _opened(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror})") from error


def _members(file: IO[bytes], name: str, start: int = 0, size: int | None = None) -> Iterator[tarfile.TarInfo]:
    """Yields the regular files of the uncompressed tar file that fills ``size`` bytes from ``start``.

    Their ``offset_data`` counts from the start of ``file``.
    """
    end = file.seek(0, os.SEEK_END) if size is None else start + size
    file.seek(start)
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as archive:
            for member in _sound(archive):
                if member.offset_data + member.size > end:
                    raise RunError(f"{name}: is cut off inside {printable(member.name)}; get the file again")
                if member.isfile():
                    yield member
    except _HEADER_ERRORS as error:
        raise RunError(f"{name}: is not a valid uncompressed tar file ({error}); get the file again") from error


def _images_of(members: Iterable[tarfile.TarInfo], prefix: str, archive: str, notes: Notes) -> list[ImageSource]:
    """The images among the members of a tar file, in name order; ``archive`` is the file that holds their bytes."""
    images: dict[str, ImageSource] = {}
    for member in members:
        base = member.name.rsplit("/", 1)[-1]
        if not has_image_name(base):
            notes.other_files[kind_of_file(base)] += 1
        elif base in images:
            raise RunError(f"{archive}: has two images named {printable(prefix + base)}; extract it, and convert that")
        else:
            modified_ns = int(member.mtime) * 10**9
            images[base] = ImageSource(prefix + base, member.size, modified_ns, archive, member.offset_data)
    return sorted(images.values(), key=lambda image: image.name)


def read_train_tar(root: Path, notes: Notes) -> Classes:
    """The classes of ``ILSVRC2012_img_train.tar`` in ``root``: a tar file with one tar file per class.

    Raises:
        RunError: The file or a tar file in it is damaged or cut off, or it holds no tar file.
    """
    classes: Classes = {}
    path = root / TRAIN_TAR
    with _opened(path) as outer, _opened(path) as inner:
        for member in _members(outer, str(path)):
            stem, suffix = os.path.splitext(member.name.rsplit("/", 1)[-1])  # noqa: PTH122
            if suffix != ".tar":
                notes.other_files[kind_of_file(stem + suffix)] += 1
                continue
            parts = _members(inner, f"{path}: {printable(member.name)}", member.offset_data, member.size)
            class_name = class_of_folder(stem, str(path))
            if class_name in classes:
                raise RunError(f"{path}: has two tar files for the class {printable(class_name)}")
            classes[class_name] = _images_of(parts, f"train/{stem}/", TRAIN_TAR, notes)
    if not classes:
        raise RunError(f"{path}: holds no tar file; it must hold one for each class, such as n01440764.tar")
    total = sum(len(images) for images in classes.values())
    if (len(classes), total) != (_FULL_CLASSES, _FULL_TRAIN):
        notes.sentences.append(
            f"{path}: {plural(total, 'image')} of {plural(len(classes), 'class')}; the whole file has {_FULL_TRAIN:,} "
            f"of {_FULL_CLASSES:,}"
        )
    return classes


def read_class_tars(root: Path, folder: str, names: Sequence[str], notes: Notes) -> Classes:
    """The classes of a folder that holds one tar file per class, as ``ILSVRC2012_img_train.tar`` extracts to."""
    classes: Classes = {}
    for name in names:
        archive, stem = f"{folder}/{name}", name.removesuffix(".tar")
        with _opened(root / archive) as file:
            class_name = class_of_folder(stem, str(root / folder))
            members = _members(file, str(root / archive))
            classes[class_name] = _images_of(members, f"{folder}/{stem}/", archive, notes)
    return classes


def read_flat_tar(root: Path, notes: Notes) -> list[ImageSource]:
    """The images of ``ILSVRC2012_img_val.tar`` in ``root``, in name order."""
    with _opened(root / VALIDATION_TAR) as file:
        return _images_of(_members(file, str(root / VALIDATION_TAR)), "validation/", VALIDATION_TAR, notes)


def label_flat_images(images: Sequence[ImageSource], labels_path: Path) -> Classes:
    """Assigns each image of a flat validation folder to its class.

    Args:
        images: In the order of their sorted file names.
        labels_path: ``--validation_labels``: one synset per line in that order, or the devkit archive.

    Raises:
        RunError: The file cannot be read.
        UsageError: It does not hold one synset for each image.
    """
    synsets = _devkit_labels(labels_path) if tarfile_like(labels_path) else _label_lines(labels_path)
    if len(synsets) != len(images):
        raise UsageError(
            f"--validation_labels {labels_path}: has {plural(len(synsets), 'label')} for "
            f"{plural(len(images), 'validation image')}; "
            f"there must be one for each (all of ImageNet has {_FULL_VALIDATION:,})"
        )
    classes: Classes = {}
    for image, synset in zip(images, synsets, strict=True):
        classes.setdefault(synset, []).append(image)
    return classes


def tarfile_like(path: Path) -> bool:
    """Returns whether ``path`` is named like a tar file, compressed or not."""
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def _label_lines(path: Path) -> list[str]:
    try:
        lines = read_regular(path, most=_LARGEST_DEVKIT_FILE).decode("utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        kind, reason = (RunError, error.strerror) if isinstance(error, OSError) else (UsageError, "it is not text")
        raise kind(f"--validation_labels {path}: cannot be read ({reason}){path_hint(path)}") from error
    for number, line in enumerate(lines, 1):
        if not SYNSET.fullmatch(line):
            hint = "; for ILSVRC ids give the devkit archive, which maps them to synsets" if line.isdigit() else ""
            raise UsageError(
                f"--validation_labels {path}: entry {number} is {printable(line)[:40]!r}; must be a synset such as "
                f"n01440764{hint}"
            )
    return lines


def _devkit_labels(path: Path) -> list[str]:
    """The validation synsets from ``ILSVRC2012_devkit_t12.tar.gz``, through the ids in its ``meta.mat``."""
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped, unused-ignore]  # optional: only for this file
    except ImportError as error:
        raise UsageError(
            f"--validation_labels {path}: reading the devkit needs SciPy (pip install scipy); a text file of synset "
            "lines does not"
        ) from error
    found: dict[str, bytes] = {}
    try:
        with open_regular(path) as opened, tarfile.open(fileobj=opened, tarinfo=_Header) as archive:
            for member in _sound(archive):
                base = member.name.rsplit("/", 1)[-1]
                if base in (_TRUTH_FILE, _META_FILE) and (file := archive.extractfile(member)) is not None:
                    found[base] = file.read(_LARGEST_DEVKIT_FILE)
        ids = [int(line) for line in found[_TRUTH_FILE].split()]
        rows = loadmat(io.BytesIO(found[_META_FILE]), squeeze_me=True)["synsets"]
        synset_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
        return [synset_of[number] for number in ids]
    except KeyError as error:
        raise UsageError(f"--validation_labels {path}: lacks {error}; is it ILSVRC2012_devkit_t12.tar.gz?") from error
    except (OSError, EOFError, TypeError, zlib.error, *_HEADER_ERRORS) as error:
        raise UsageError(f"--validation_labels {path}: cannot be read as the devkit archive ({error})") from error
