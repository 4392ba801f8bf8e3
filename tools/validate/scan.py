"""Every image of a data set, looked at by several processes; one ``Seen`` comes of each (no TF)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tools.convert.record_writer import read_source
from tools.convert.sources import ImageSource
from tools.validate.decoded_image import Look, look_at
from tools.validate.findings import Finding, Place
from utils.errors import RunError
from utils.images.image_files import UnreadableImage
from utils.records.example_proto import Value, Values, decode_example
from utils.records.tfrecord_file import iterate_payloads
from utils.system.worker_pool import progress_of, worker_pool
from utils.text import plural

CHUNK = 64  # images that a process takes at a time
_IMAGE_KEY = "image/encoded"

Features = Mapping[str, Values]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a record's labels or objects are worth.

    Attributes:
        labels: The label, or the category of each object; those that count.
        notes: (kind, text) of each finding.
        mended: What is to change in the record, where the repaired copy keeps it changed.
    """

    labels: tuple[int, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    mended: Mapping[str, Value] | None = None


Rules = Callable[[Features, Look], Judgement]
"""Judges a record of a task; can be sent to another process."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An image of the data set.

    Attributes:
        place: Where it is.
        name: What it was called before it became a record, where that is known; its path otherwise.
        size: Of the image file, in bytes.
        digest: Of its bytes; nothing where there is no image at all.
        thumb: As in ``Look``.
        labels: As in ``Judgement``.
        findings: What is wrong with it.
        mends: Whether the repaired copy keeps it changed.
    """

    place: Place
    name: str
    size: int = 0
    digest: bytes = b""
    thumb: bytes = b""
    height: int = 0
    width: int = 0
    labels: tuple[int, ...] = ()
    findings: tuple[Finding, ...] = ()
    mends: bool = False


class Unit(Protocol):
    """A part of the work that one process does at a time."""

    def __len__(self) -> int:
        """Number of images."""

    def look(self) -> list[Seen]:
        """Looks at them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordUnit:
    """Records of one file: the number in the file, the offset and the length of each."""

    path: Path
    place: Place
    records: tuple[tuple[int, int, int], ...]
    rules: Rules

    def __len__(self) -> int:
        return len(self.records)

    def look(self) -> list[Seen]:
        payloads = iterate_payloads(self.path, ((offset, length) for _, offset, length in self.records))
        return [
            self._seen(number, payload, fault)
            for (number, _, _), (payload, fault) in zip(self.records, payloads, strict=True)
        ]

    def _seen(self, number: int, payload: bytes, fault: str | None) -> Seen:
        place = Place(self.place.source, self.place.split, self.place.file, number)
        if fault:
            return Seen(place, str(place), findings=(Finding("record_broken", place, fault),))
        try:
            features = decode_example(payload)
        except ValueError as error:
            text = f"is no tf.train.Example ({error})"
            return Seen(place, str(place), findings=(Finding("record_content", place, text),))
        encoded = image_of(features)
        look = look_at(encoded, as_record=True)
        judged = self.rules(features, look)
        return Seen(
            *(place, name_of(features) or str(place), len(encoded), look.digest if encoded else b"", look.thumb),
            *(look.height, look.width, judged.labels),
            tuple(Finding(kind, place, text) for kind, text in (*look.notes, *judged.notes)),
            judged.mended is not None,
        )


def image_of(features: Features) -> bytes:
    """The encoded image of a record, or nothing."""
    values = features.get(_IMAGE_KEY) or [b""]
    return values[0] if isinstance(values[0], bytes) else b""


def size_fault(features: Features, look: Look) -> str:
    """What is wrong with the size that a record says its image has, or nothing."""
    said = [(features.get(f"image/{side}") or [None])[0] for side in ("height", "width")]
    if not look.readable or None in said or said == [look.height, look.width]:
        return ""
    return f"is {look.width}x{look.height} pixels, and said to be {said[1]!r}x{said[0]!r}"


def true_size(look: Look) -> dict[str, Value]:
    """The features that say an image's size, as it is."""
    return {"image/height": look.height, "image/width": look.width}


def name_of(features: Features) -> str:
    """What a record says its image was called, or nothing."""
    values = features.get("image/filename") or [b""]
    return values[0].decode(errors="replace") if isinstance(values[0], bytes) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUnit:
    """Image files below a folder, with the label of each."""

    root: Path
    source: str
    split: str
    images: tuple[ImageSource, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.images)

    def look(self) -> list[Seen]:
        return [self._seen(*pair) for pair in zip(self.images, self.labels, strict=True)]

    def _seen(self, image: ImageSource, label: int) -> Seen:
        place = Place(self.source, self.split, image.name)
        try:
            data = read_source(self.root, image)
        except UnreadableImage as error:
            finding = Finding("image_unreadable", place, error.reason)
            return Seen(place, image.name, labels=(label,), findings=(finding,))
        look = look_at(data, as_record=False)
        findings = tuple(Finding(kind, place, text) for kind, text in look.notes)
        digest = look.digest if data else b""
        return Seen(
            *(place, image.name, len(data), digest, look.thumb, look.height, look.width, (label,), findings),
        )


def chunks(count: int) -> Iterator[slice]:
    """Parts of ``CHUNK`` things."""
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


def _look(unit: Unit) -> list[Seen]:
    return unit.look()


def look_at_all(units: Sequence[Unit], workers: int) -> list[Seen]:
    """Looks at the images of all units, in their order, with a progress bar on terminals and lines elsewhere.

    Raises:
        RunError: A file cannot be read, or a process was killed.
    """
    seen: list[Seen] = []
    with progress_of(sum(map(len, units))) as progress:
        for found in _looked(units, min(workers, len(units))):
            seen.extend(found)
            progress.update(len(found))
    return seen


def _looked(units: Sequence[Unit], workers: int) -> Iterable[list[Seen]]:
    if workers <= 1:
        yield from map(_look, units)
        return
    pool: ProcessPoolExecutor = worker_pool(workers)
    try:
        yield from pool.map(_look, units)
    except BrokenProcessPool as error:
        raise RunError(
            f"one of {plural(workers, 'process')} was killed, perhaps for lack of memory; give fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
