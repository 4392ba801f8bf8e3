"""Scans images in several processes; each becomes a ``ScannedImage`` (no TF)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tools.convert.shard_writer import read_source
from tools.convert.sources import ImageSource
from tools.validate.decoded_image import DecodedImage, decode_image
from tools.validate.findings import Finding, Place
from utils.errors import RunError
from utils.images.image_files import UnreadableImage
from utils.records.example_proto import Value, decode_example
from utils.records.record_rules import IMAGE_KEY, NO_EXAMPLE, Features, image_of
from utils.records.tfrecord_file import iterate_payloads
from utils.system.worker_pool import progress_of, worker_pool
from utils.text import plural

CHUNK = 64  # images that a process takes at a time


@dataclass(frozen=True, slots=True)
class RecordCheck:
    """The valid labels or objects of a record, and the findings about the others.

    Attributes:
        labels: The label, or the category of each object, if valid.
        notes: Kind and text of each finding.
        corrections: Features that the repaired copy changes, or None.
        image_id: The decimal number of the image for evaluation; empty if it has none.
    """

    labels: tuple[int, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    corrections: Mapping[str, Value] | None = None
    image_id: bytes = b""


Rules = Callable[[Features, DecodedImage], RecordCheck]
"""Checks a record of a task; picklable, to send it to another process."""


@dataclass(frozen=True, slots=True)
class ScannedImage:
    """An image of the data set.

    Attributes:
        place: Its place in the data set.
        name: The file name before conversion to a record, if known; otherwise its path.
        size: Size of the image file in bytes.
        digest: Digest of its bytes; empty if there is no image.
        thumb: As in ``DecodedImage``.
        labels: As in ``RecordCheck``.
        findings: The findings about it.
        is_corrected: Whether the repaired copy changes it.
        image_id: As in ``RecordCheck``.
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
    is_corrected: bool = False
    image_id: bytes = b""


class ScanUnit(Protocol):
    """A part of the work that one process does at a time."""

    def __len__(self) -> int:
        """Number of images."""

    def scan(self) -> list[ScannedImage]:
        """Scans the images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordUnit:
    """Records of one file: the number in the file, the offset and the length of each."""

    path: Path
    place: Place
    records: tuple[tuple[int, int, int], ...]
    rules: Rules

    def __len__(self) -> int:
        return len(self.records)

    def scan(self) -> list[ScannedImage]:
        payloads = iterate_payloads(self.path, ((offset, length) for _, offset, length in self.records))
        return [
            self._scan_one(number, payload, fault)
            for (number, _, _), (payload, fault) in zip(self.records, payloads, strict=True)
        ]

    def _scan_one(self, number: int, payload: bytes, fault: str | None) -> ScannedImage:
        place = Place(self.place.source, self.place.split, self.place.file, number)
        if fault:
            return ScannedImage(place, str(place), findings=(Finding("record_broken", place, fault),))
        try:
            features = decode_example(payload)
        except ValueError as error:
            text = f"{NO_EXAMPLE} ({error})"
            return ScannedImage(place, str(place), findings=(Finding("record_content", place, text),))
        encoded = image_of(features)
        decoded = decode_image(encoded, as_record=True)
        checked = self.rules(features, decoded)
        of_image = decoded.notes if features.get(IMAGE_KEY) else ()  # the rules name a missing image
        return ScannedImage(
            *(place, name_of(features) or str(place), len(encoded), decoded.digest if encoded else b"", decoded.thumb),
            *(decoded.height, decoded.width, checked.labels),
            tuple(Finding(kind, place, text) for kind, text in (*of_image, *checked.notes)),
            checked.corrections is not None,
            checked.image_id,
        )


def size_fault(features: Features, decoded: DecodedImage) -> str:
    """The fault of a record's image size, or empty if the size is right."""
    said = [(features.get(f"image/{side}") or [None])[0] for side in ("height", "width")]
    if not decoded.readable or None in said or said == [decoded.height, decoded.width]:
        return ""
    return f"has {decoded.width}x{decoded.height} pixels, but its record says {said[1]!r}x{said[0]!r}"


def true_size(decoded: DecodedImage) -> dict[str, Value]:
    """The size features of an image with their true values."""
    return {"image/height": decoded.height, "image/width": decoded.width}


def name_of(features: Features) -> str:
    """The file name of the image in a record, or empty."""
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

    def scan(self) -> list[ScannedImage]:
        return [self._scan_one(*pair) for pair in zip(self.images, self.labels, strict=True)]

    def _scan_one(self, image: ImageSource, label: int) -> ScannedImage:
        place = Place(self.source, self.split, image.name)
        try:
            data = read_source(self.root, image)
        except UnreadableImage as error:
            finding = Finding("image_unreadable", place, error.reason)
            return ScannedImage(place, image.name, labels=(label,), findings=(finding,))
        decoded = decode_image(data, as_record=False)
        findings = tuple(Finding(kind, place, text) for kind, text in decoded.notes)
        digest = decoded.digest if data else b""
        return ScannedImage(
            *(place, image.name, len(data), digest, decoded.thumb, decoded.height, decoded.width, (label,), findings),
        )


def chunks(count: int) -> Iterator[slice]:
    """Slices that divide ``count`` items into parts of ``CHUNK``."""
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


def _scan(unit: ScanUnit) -> list[ScannedImage]:
    return unit.scan()


def scan_images(units: Sequence[ScanUnit], workers: int) -> list[ScannedImage]:
    """Scans the images of all units in order, with a progress bar on terminals and progress lines elsewhere.

    Raises:
        RunError: A file cannot be read, or a process was killed.
    """
    seen: list[ScannedImage] = []
    with progress_of(sum(map(len, units))) as progress:
        for found in _scan_in_processes(units, min(workers, len(units))):
            seen.extend(found)
            progress.update(len(found))
    return seen


def _scan_in_processes(units: Sequence[ScanUnit], workers: int) -> Iterable[list[ScannedImage]]:
    if workers <= 1:
        yield from map(_scan, units)
        return
    pool: ProcessPoolExecutor = worker_pool(workers)
    try:
        yield from pool.map(_scan, units)
    except BrokenProcessPool as error:
        raise RunError(
            f"one of {plural(workers, 'process')} was killed, perhaps for lack of memory; give fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
