"""TFRecords of a folder as a source: the files of each split, compared with the manifest (no TF)."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.validate.decoded_image import decode_image
from tools.validate.findings import Finding, Place
from tools.validate.scan import RecordUnit, Rules, ScannedImage, ScanUnit, chunks
from utils.errors import RunError
from utils.files.atomic_file import atomic_file
from utils.files.regular_file import sha256
from utils.records.example_proto import decode_example, encode_example
from utils.records.label_records import LABEL_KEY
from utils.records.manifest import (
    CONVERSION_FOLDER,
    LABEL_MAP_NAME,
    LEADS_OUTSIDE,
    MANIFEST_NAME,
    Manifest,
    ShardFile,
    Split,
    leads_outside,
    read_manifest,
    write_manifest,
)
from utils.records.record_files import (
    files_by_name,
    missing_in_series,
    others_sentence,
    record_files_of_other_names,
    split_files_by_name,
)
from utils.records.record_index import INDEX_FOLDER, read_index
from utils.records.record_rules import image_of
from utils.records.tfrecord_file import RecordWriter, iterate_payloads, locate_records
from utils.text import first_few, plural, similar_names

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
        files = self._listed() if self.manifest else self._found()
        if not any(files.values()) and self.findings:
            raise RunError(self.findings[0].text)
        if not any(files.values()):
            others = record_files_of_other_names(path)
            raise RunError(
                f"{path}: holds {others_sentence(path, others)}"
                if others
                else f"{path}: no file is named train-*, validation-* or coco_*; SRC must hold the data to check"
            )
        self.files: dict[str, list[Path]] = files
        self.task = (
            self.manifest.task if self.manifest else task_of_files([file for many in files.values() for file in many])
        )
        self.rules, self.classes, faults = tasks[self.task](path, self.manifest)
        self.findings += [Finding("label_map", self._place("", path), fault) for fault in faults]
        self.findings += [
            Finding("class_names", self._place("", path), text) for text in similar_names(list(self.classes.values()))
        ]
        described = "by " + MANIFEST_NAME if self.manifest else "nowhere"
        self.what = f"TFRecords for {self.task}, described {described}"
        self._index_dir, self._needs_all = index_dir or path / INDEX_FOLDER, index_dir is not None
        self._units: list[ScanUnit] = []
        for split, paths in files.items():
            records = sum(self._scan_file(split, file) for file in paths)
            if not records and not self.manifest and all(finding.kind != "record_broken" for finding in self.findings):
                text = f"holds no record in {plural(len(paths), 'file')}: {first_few([file.name for file in paths])}"
                self.findings.append(Finding("split_empty", Place(str(path), split, split), text))

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
            shards = [self._copy(split, file, out, kept) for file in files]
            splits[split] = Split(shards=tuple(shard for shard in shards if shard.examples))
            if not splits[split].examples:
                raise RunError(f"{self.path}: nothing is left of its split {split}")
        if (written := sum(split.examples for split in splits.values())) != len(kept):
            raise RunError(f"{self.path}: the copy has {written:,} records, and should have {len(kept):,}")
        beside = self.path / LABEL_MAP_NAME
        if beside.is_file() and not any(finding.kind == "label_map" for finding in self.findings):
            shutil.copyfile(beside, out / LABEL_MAP_NAME)
        if self.manifest is not None:
            write_manifest(out, dataclasses.replace(self.manifest, splits=splits, source_sha256=None))

    def _copy(self, split: str, file: Path, out: Path, kept: dict[tuple[str, int | None], bool]) -> ShardFile:
        """Writes the kept records of one file.

        Raises:
            RunError: Another file was written under its name, or it has changed since it was scanned.
        """
        target = out / file.name
        if target.exists():
            raise RunError(f"{file}: another file of the copy has the name {file.name}")
        name = str(file.relative_to(self.path))
        places, _ = locate_records(file)
        wanted = [(number, place) for number, place in enumerate(places) if (name, number) in kept]
        with atomic_file(target) as output:
            records = RecordWriter(output)
            payloads = iterate_payloads(file, (place for _, place in wanted))
            for (number, _), (payload, fault) in zip(wanted, payloads, strict=True):
                if fault:
                    raise RunError(f"{file}: record {number}: {fault}; the file changed while it was copied")
                records.write(self._corrected(payload) if kept[name, number] else payload)
        if not records.examples:
            target.unlink()
        listed = self._shard_of(split, file)
        groups = None if listed is None else listed.groups
        return ShardFile(
            file=file.name,
            examples=records.examples,
            bytes=records.bytes,
            sha256=records.sha256,
            groups=groups and tuple(groups[number] for number, _ in wanted if number < len(groups)),
        )

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

    def _found(self) -> dict[str, list[Path]]:
        """The files with names of splits; adds a finding for each missing file and each that nothing reads."""
        files = split_files_by_name(self.path)
        for split, paths in files.items():
            for name in missing_in_series(paths):
                text = "is missing, by the names of the others"
                self.findings.append(Finding("file_missing", self._place(split, self.path / name), text))
        used = {path for paths in files.values() for path in paths}
        for path in (*files_by_name(self.path), *record_files_of_other_names(self.path)):
            if path not in used:
                text = "has another name than the files of the splits"
                self.findings.append(Finding("file_unlisted", self._place("", path), text))
        return files

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
            if split_name not in self.manifest.splits:
                here = Place(str(self.path), split_name, MANIFEST_NAME)
                text = f"lists no split {split_name}, and the folder has {first_few([path.name for path in paths])}"
                self.findings.append(Finding("manifest", here, text))
        return files

    def _is_there(self, split: str, shard: ShardFile) -> bool:
        path = self.path / shard.file
        there = path.is_file()
        if not there:
            finding = Finding("file_missing", self._place(split, path), f"is missing; {MANIFEST_NAME} lists it")
            self.findings.append(finding)
        elif leads_outside(self.path, shard.file):
            self.findings.append(Finding("file_outside", self._place(split, path), LEADS_OUTSIDE))
            return False
        return there

    def _scan_file(self, split: str, file: Path) -> int:
        """Finds the records of a file, compares the file with the manifest and the index, and returns their number."""
        place = self._place(split, file)
        records, fault = locate_records(file)
        if fault:
            lost = f"{fault}; the rest of the file is lost"
            self.findings.append(Finding("record_broken", Place(*_parts(place), len(records)), lost))
        elif not records:
            self.findings.append(Finding("file_empty", place, "holds no record"))
        shard = self._shard_of(split, file)
        if shard is not None:
            self._compare(place, file, shard, len(records))
        self._check_index(place, file, len(records))
        numbered = [(number, *record) for number, record in enumerate(records)]
        for part in chunks(len(numbered)):
            self._units.append(RecordUnit(path=file, place=place, records=tuple(numbered[part]), rules=self.rules))
        return len(records)

    def _shard_of(self, split: str, file: Path) -> ShardFile | None:
        shards = self.manifest.splits[split].shards if self.manifest else ()
        return next((shard for shard in shards if self.path / shard.file == file), None)

    def _compare(self, place: Place, file: Path, shard: ShardFile, count: int) -> None:
        size = file.stat().st_size
        if shard.bytes not in (None, size):
            text = f"has {size:,} bytes, but {MANIFEST_NAME} says {shard.bytes:,}"
            self.findings.append(Finding("file_changed", place, text))
        elif shard.sha256 not in (None, sha256(file)):
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
