"""Writes one shard from its images, completely or not at all, and records its completion (no TF)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tools.convert.remarks import Remark, Remarks
from tools.convert.sources import ImageSource
from utils.files.atomic_file import atomic_file, write_atomically
from utils.files.regular_file import open_regular, read_regular
from utils.images.image_files import MOST_IMAGE_BYTES, EncodedImage, UnreadableImage, load_rgb
from utils.records.example_proto import Value, encode_example
from utils.records.manifest import CONVERSION_FOLDER
from utils.records.tfrecord_file import RecordWriter

_RECORD_VERSION = 1  # raise when the same images would give other records, so that old shards are rebuilt


class RecordPlan(Protocol):
    """One record: an image and its annotations. Picklable, as a worker process writes it."""

    @property
    def image(self) -> ImageSource:
        """The image."""

    def identity(self) -> tuple[Any, ...]:
        """Everything besides the image that determines the record, as JSON values."""

    def features(self, image: EncodedImage, remarks: Remarks) -> Mapping[str, Value]:
        """The features of the record; adds to ``remarks`` what was repaired or left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """A shard to write: its file name, its records in order, and the folders to read from and to write to.

    ``source`` is the folder that image names are relative to.
    """

    file: str
    records: tuple[RecordPlan, ...]
    source: Path
    out: Path
    skip_unreadable: bool = False

    def fingerprint(self) -> str:
        """A hash of everything that determines the shard's bytes; images count by name, size and time."""
        records = [(*_identity(record.image), *record.identity()) for record in self.records]
        return hashlib.sha256(json.dumps([_RECORD_VERSION, records]).encode()).hexdigest()


def _identity(image: ImageSource) -> tuple[Any, ...]:
    return image.name, image.size, image.modified_ns, image.archive, image.offset


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """A finished shard. ``source_sha256`` sums the hashes of its images, see ``Manifest``."""

    file: str
    plan: str
    examples: int
    bytes: int
    sha256: str
    source_sha256: str
    skipped: tuple[tuple[str, str], ...] = ()
    remarks: tuple[Remark, ...] = ()


class UnreadableImagesError(Exception):
    """Unreadable images of a shard, as (name, reason); the shard was not written."""

    def __init__(self, images: Sequence[tuple[str, str]]) -> None:
        super().__init__(images)
        self.images = tuple(images)


def read_source(root: Path, image: ImageSource) -> bytes:
    """The bytes of an image file, from its own file or from inside an archive.

    Raises:
        UnreadableImage: The file cannot be read, or the archive ends before the image does.
    """
    try:
        if image.archive is None:
            return read_regular(root / image.name, most=MOST_IMAGE_BYTES)
        with open_regular(root / image.archive) as file:
            file.seek(image.offset)
            data = file.read(image.size)
    except OSError as error:
        raise UnreadableImage(image.name, f"cannot be read ({error.strerror})") from error
    if len(data) < image.size:
        raise UnreadableImage(image.name, f"is cut off in {image.archive}")
    return data


def source_hash(name: str, content_sha256: bytes) -> int:
    """The contribution of one file to the hash of the sources: 256 bits from its name and content."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name) + b"\0" + content_sha256).digest(), "big")


def add_source_hashes(hashes: Iterable[int]) -> str:
    """The sum modulo 2^256, in hexadecimal: independent of the order and of the division into shards."""
    return f"{sum(hashes) % 2**256:064x}"


def write_shard(plan: ShardPlan) -> ShardResult:
    """Writes a shard under a temporary name, syncs it, renames it, and then records its completion.

    Raises:
        UnreadableImagesError: Images cannot be read and may not be skipped; names them all, and nothing is written.
        OSError: Writing failed; an older shard of this name is kept.
    """
    hashes: list[int] = []
    skipped: list[tuple[str, str]] = []
    remarks = Remarks()
    state_path(plan.out, plan.file).unlink(missing_ok=True)
    with atomic_file(plan.out / plan.file) as file:
        records = RecordWriter(file)
        for record in plan.records:
            try:
                data = read_source(plan.source, record.image)
                image = load_rgb(data, record.image.name)
            except UnreadableImage as error:
                skipped.append((error.path, error.reason))
                continue
            if skipped and not plan.skip_unreadable:
                continue  # the shard will not be written; the rest is read only to name every bad image at once
            if image.remark:
                remarks.add("image", image.remark, record.image.name)
            hashes.append(source_hash(record.image.name, hashlib.sha256(data).digest()))
            records.write(encode_example(record.features(image, remarks)))
        if skipped and not plan.skip_unreadable:
            raise UnreadableImagesError(skipped)
    result = ShardResult(
        file=plan.file,
        plan=plan.fingerprint(),
        examples=records.examples,
        bytes=records.bytes,
        sha256=records.sha256,
        source_sha256=add_source_hashes(hashes),
        skipped=tuple(skipped),
        remarks=remarks.as_tuple(),
    )
    write_atomically(state_path(plan.out, plan.file), json.dumps(asdict(result)).encode())
    return result


def state_path(out: Path, file: str) -> Path:
    """The file that records the result of a complete shard."""
    return out / CONVERSION_FOLDER / f"{file}.json"


def finished(plan: ShardPlan) -> ShardResult | None:
    """The result of an earlier run if still valid (same images, options and file size), or None."""
    try:
        content = json.loads(state_path(plan.out, plan.file).read_bytes())
        content["skipped"] = tuple((name, reason) for name, reason in content["skipped"])
        content["remarks"] = tuple(Remark(**remark) for remark in content.get("remarks", ()))
        result = ShardResult(**content)
        size = (plan.out / plan.file).stat().st_size
    except (OSError, ValueError, TypeError, KeyError):  # absent, or written by another version: rebuild it
        return None
    if result.plan != plan.fingerprint() or size != result.bytes or (result.skipped and not plan.skip_unreadable):
        return None
    return result
