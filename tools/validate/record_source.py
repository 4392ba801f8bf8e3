"""TFRecords of a folder as a source: the files of each split, compared with the manifest (no TF)."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.validate.decoded_image import decode_image
from tools.validate.findings import Finding, Place
from tools.validate.label_rules import LABEL_KEY
from tools.validate.scan import RecordUnit, Rules, ScannedImage, ScanUnit, chunks, image_of
from utils.errors import RunError
from utils.files.atomic_file import atomic_file
from utils.records.example_proto import decode_example, encode_example
from utils.records.manifest import (
    CONVERSION_FOLDER,
    LABEL_MAP_NAME,
    MANIFEST_NAME,
    Manifest,
    ShardFile,
    Split,
    read_manifest,
    write_manifest,
)
from utils.records.record_files import split_files_by_name
from utils.records.record_index import INDEX_FOLDER, read_index
from utils.records.tfrecord_file import RecordWriter, iterate_payloads, locate_records
from utils.text import plural

MakeRules = Callable[[Path, Manifest | None], tuple[Rules, Mapping[int, str], list[str]]]
"""Maps a folder and its manifest to the rules of its records, the classes, and faults of the label map."""


class RecordSource:
    """A folder of record files.

    Args:
        path: The folder.
        tasks: The function that makes the rules, by task.
        index_dir: Folder of DALI's index files to check, with one for each file. None checks those beside the records,
            which the program writes only for the splits that it reads.

    Raises:
        RunError: The folder has no record files, or one cannot be read.
    """

    def __init__(self, path: Path, tasks: Mapping[str, MakeRules], index_dir: Path | None = None) -> None:
        self.path = path
        self.findings: list[Finding] = []
        self.manifest = self._read_manifest()
        files = self._listed() if self.manifest else split_files_by_name(path)
        if not any(files.values()):
            raise RunError(f"{path}: no file is named train-*, validation-* or coco_*; SRC must hold the data to check")
        self.files: dict[str, list[Path]] = files
        self.task = (
            self.manifest.task if self.manifest else task_of_files([file for many in files.values() for file in many])
        )
        self.rules, self.classes, faults = tasks[self.task](path, self.manifest)
        self.findings += [Finding("label_map", self._place("", path), fault) for fault in faults]
        described = "by " + MANIFEST_NAME if self.manifest else "nowhere"
        self.what = f"TFRecords for {self.task}, described {described}"
        self._index_dir, self._needs_all = index_dir or path / INDEX_FOLDER, index_dir is not None
        self._units: list[ScanUnit] = []
        for split, paths in files.items():
            for file in paths:
                self._scan_file(split, file)

    def units(self) -> Sequence[ScanUnit]:
        return self._units

    def repair(self, out: Path, images: Sequence[ScannedImage], dropped: frozenset[Place]) -> None:
        """Writes the files with the kept records, and their manifest.

        Records keep their order; those without a repair keep their bytes.

        Args:
            out: An empty folder.
            images: All scanned images of this source and others.
            dropped: The places of the records to leave out.

        Raises:
            RunError: Nothing is left of a split.
        """
        name = str(self.path)
        kept = {
            (one.place.file, one.place.record): one.is_corrected
            for one in images
            if one.place.source == name and one.place not in dropped
        }
        splits: dict[str, Split] = {}
        for split, files in self.files.items():
            shards = [self._copy(file, out, kept) for file in files]
            splits[split] = Split(shards=tuple(shard for shard in shards if shard.examples))
            if not splits[split].examples:
                raise RunError(f"{self.path}: nothing is left of its split {split}")
        beside = self.path / LABEL_MAP_NAME
        if beside.is_file() and not any(finding.kind == "label_map" for finding in self.findings):
            shutil.copyfile(beside, out / LABEL_MAP_NAME)
        if self.manifest is not None:
            write_manifest(out, dataclasses.replace(self.manifest, splits=splits, source_sha256=None))

    def _copy(self, file: Path, out: Path, kept: dict[tuple[str, int | None], bool]) -> ShardFile:
        """Writes the kept records of one file."""
        target = out / file.name
        name = str(file.relative_to(self.path))
        places, _ = locate_records(file)
        wanted = [(number, place) for number, place in enumerate(places) if (name, number) in kept]
        with atomic_file(target) as output:
            records = RecordWriter(output)
            payloads = iterate_payloads(file, (place for _, place in wanted))
            for (number, _), (payload, _) in zip(wanted, payloads, strict=True):
                records.write(self._corrected(payload) if kept[name, number] else payload)
        if not records.examples:
            target.unlink()
        return ShardFile(file=file.name, examples=records.examples, bytes=records.bytes, sha256=records.sha256)

    def _corrected(self, payload: bytes) -> bytes:
        features = decode_example(payload)
        checked = self.rules(features, decode_image(image_of(features), as_record=True))
        return encode_example({**features, **(checked.corrections or {})})

    def _place(self, split: str, file: Path) -> Place:
        name = str(file.relative_to(self.path)) if file != self.path else file.name
        return Place(str(self.path), split, name)

    def _read_manifest(self) -> Manifest | None:
        here = Place(str(self.path), "", MANIFEST_NAME)
        try:
            manifest = read_manifest(self.path)
        except RunError as error:
            self.findings.append(Finding("manifest", here, str(error)))
            return None
        if manifest is None and (self.path / CONVERSION_FOLDER).is_dir():
            text = f"the conversion did not finish, so there is no {MANIFEST_NAME}"
            self.findings.append(Finding("manifest", here, text))
        return manifest

    def _listed(self) -> dict[str, list[Path]]:
        """The files in the manifest that exist; adds a finding for each missing or unlisted file."""
        assert self.manifest is not None
        files: dict[str, list[Path]] = {}
        for name, split in self.manifest.splits.items():
            files[name] = [self.path / shard.file for shard in split.shards if self._is_there(name, shard)]
            if not split.examples:
                here = Place(str(self.path), name, MANIFEST_NAME)
                self.findings.append(Finding("manifest", here, f"its split {name} has no examples"))
        listed = {path for paths in files.values() for path in paths}
        for split_name, paths in split_files_by_name(self.path).items():
            for path in (one for one in paths if one not in listed):
                text = f"holds records, but {MANIFEST_NAME} does not list it"
                self.findings.append(Finding("file_unlisted", self._place(split_name, path), text))
        return files

    def _is_there(self, split: str, shard: ShardFile) -> bool:
        path = self.path / shard.file
        there = path.is_file()
        if not there:
            finding = Finding("file_missing", self._place(split, path), f"is missing; {MANIFEST_NAME} lists it")
            self.findings.append(finding)
        return there

    def _scan_file(self, split: str, file: Path) -> None:
        """Finds the records of a file, and compares the file with the manifest and the index."""
        place = self._place(split, file)
        records, fault = locate_records(file)
        if fault:
            lost = f"{fault}; the rest of the file is lost"
            self.findings.append(Finding("record_broken", Place(*_parts(place), len(records)), lost))
        shard = self._shard_of(split, file)
        if shard is not None:
            self._compare(place, file, shard, len(records))
        self._check_index(place, file, len(records))
        numbered = [(number, *record) for number, record in enumerate(records)]
        for part in chunks(len(numbered)):
            self._units.append(RecordUnit(path=file, place=place, records=tuple(numbered[part]), rules=self.rules))

    def _shard_of(self, split: str, file: Path) -> ShardFile | None:
        shards = self.manifest.splits[split].shards if self.manifest else ()
        return next((shard for shard in shards if self.path / shard.file == file), None)

    def _compare(self, place: Place, file: Path, shard: ShardFile, count: int) -> None:
        size = file.stat().st_size
        if shard.bytes not in (None, size):
            text = f"has {size:,} bytes, but {MANIFEST_NAME} says {shard.bytes:,}"
            self.findings.append(Finding("file_changed", place, text))
        elif shard.sha256 not in (None, _sha256(file)):
            text = f"has another SHA-256 than in {MANIFEST_NAME}: its bytes have changed"
            self.findings.append(Finding("file_changed", place, text))
        if shard.examples != count:
            text = f"has {plural(count, 'readable record')}, but {MANIFEST_NAME} says {shard.examples:,}"
            self.findings.append(Finding("record_count", place, text))

    def _check_index(self, place: Place, file: Path, count: int) -> None:
        index = self._index_dir / file.name
        if not index.is_file():
            if self._needs_all:
                self.findings.append(Finding("index", place, f"{index}: is missing"))
            return
        try:
            read_index(index, file, count)
        except RunError as error:
            self.findings.append(Finding("index", place, str(error)))


def task_of_files(files: Sequence[Path]) -> str:
    """The task of the first readable record: classification if it has a label, detection if it has objects."""
    for file in files:
        for payload, fault in iterate_payloads(file, locate_records(file)[0][:1]):
            with contextlib.suppress(ValueError):
                features = {} if fault else decode_example(payload)
                if any(key.startswith("image/object/class/") for key in features) and LABEL_KEY not in features:
                    return "detection"
                return "classification" if LABEL_KEY in features or not file.name.startswith("coco_") else "detection"
    return "classification"


def _parts(place: Place) -> tuple[str, str, str]:
    return place.source, place.split, place.file


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
