"""A copy of a folder of records without its faults (no TF)."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.validate.decoded_image import look_at
from tools.validate.findings import Place
from tools.validate.scan import Rules, Seen, image_of
from utils.errors import RunError
from utils.files.atomic_file import atomic_file
from utils.records.example_proto import decode_example, encode_example
from utils.records.manifest import LABEL_MAP_NAME, Manifest, ShardFile, Split, write_manifest
from utils.records.tfrecord_file import FRAME_BYTES, frame, iterate_payloads, survey


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFolder:
    """A folder of records as it was surveyed.

    Attributes:
        path: The folder.
        files: Its record files by split.
        manifest: What ``dataset.json`` says, or None without one.
        rules: The judge of a record.
        label_map_is_sound: Whether a label map beside the records is worth a copy.
    """

    path: Path
    files: Mapping[str, Sequence[Path]]
    manifest: Manifest | None
    rules: Rules
    label_map_is_sound: bool


def repair_records(source: RecordFolder, out: Path, images: Sequence[Seen], dropped: frozenset[Place]) -> None:
    """Writes the files of a source with the records that are kept, and a manifest of them.

    Records keep their order and, where nothing is to be mended in them, their bytes.

    Args:
        source: The folder.
        out: An empty folder.
        images: Everything that was seen in it.
        dropped: The places of records that are left out.

    Raises:
        RunError: Nothing is left of a split.
    """
    name = str(source.path)
    kept = {
        (one.place.file, one.place.record): one.mends
        for one in images
        if one.place.source == name and one.place not in dropped
    }
    splits: dict[str, Split] = {}
    for split, files in source.files.items():
        shards = [_copy(source, file, out, kept) for file in files]
        splits[split] = Split(shards=tuple(shard for shard in shards if shard.examples))
        if not splits[split].examples:
            raise RunError(f"{source.path}: nothing is left of its split {split}")
    beside = source.path / LABEL_MAP_NAME
    if beside.is_file() and source.label_map_is_sound:
        shutil.copyfile(beside, out / LABEL_MAP_NAME)
    if source.manifest is not None:
        write_manifest(out, dataclasses.replace(source.manifest, splits=splits, source_sha256=None))


def _copy(source: RecordFolder, file: Path, out: Path, kept: dict[tuple[str, int | None], bool]) -> ShardFile:
    """Writes the records of one file that are kept."""
    digest, size, examples = hashlib.sha256(), 0, 0
    target = out / file.name
    name = str(file.relative_to(source.path))
    places, _ = survey(file)
    wanted = [(number, place) for number, place in enumerate(places) if (name, number) in kept]
    with atomic_file(target) as output:
        payloads = iterate_payloads(file, (place for _, place in wanted))
        for (number, _), (payload, _) in zip(wanted, payloads, strict=True):
            record = _mended(source, payload) if kept[name, number] else payload
            before, after = frame(record)
            for part in (before, record, after):
                output.write(part)
                digest.update(part)
            size += len(record) + FRAME_BYTES
            examples += 1
    if not examples:
        target.unlink()
    return ShardFile(file=file.name, examples=examples, bytes=size, sha256=digest.hexdigest())


def _mended(source: RecordFolder, payload: bytes) -> bytes:
    features = decode_example(payload)
    judged = source.rules(features, look_at(image_of(features), as_record=True))
    return encode_example({**features, **(judged.mended or {})})
