"""An annotation file in COCO's format as a source, with its images (no TF)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from object_detection.coco.annotations import CocoAnnotation, CocoImage, read_entries
from object_detection.coco.box_formats import COCO, FORMATS, BoxFormat
from object_detection.records.box_rules import Box, BoxCheck
from tools.convert.box_frame import AUTO, Frame
from tools.convert.coco_survey import Problem, survey
from tools.validate.boxes import check_boxes
from tools.validate.decoded_image import decode_image
from tools.validate.findings import Finding, Place
from tools.validate.scan import ScannedImage, ScanUnit, chunks
from utils.errors import RunError, UsageError
from utils.files.atomic_file import write_atomically
from utils.files.json_values import is_kind
from utils.files.regular_file import open_regular
from utils.images.image_files import ImageHeader

_SPLITS = {"train": "train", "val": "validation", "test": "testdev"}
"""The split of a file by the beginning of a word in its name."""
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class DrawnImage:
    """An image with its annotations, and whether these were drawn on the picture that EXIF turns upright."""

    entry: CocoImage
    annotations: tuple[CocoAnnotation, ...]
    upright: bool

    def check(self, image: ImageHeader, chosen: BoxFormat) -> tuple[Frame, list[BoxCheck]]:
        """The pixels that its boxes were drawn on, and the check of each box."""
        frame = Frame.of(image, upright=self.upright)
        size = (frame.height_px, frame.width_px)
        boxes: list[Box] = []
        for one in self.annotations:
            left, top, right, bottom = chosen.corners_px(one.box_px, *size)
            boxes.append((top, left, bottom, right))
        return frame, check_boxes(boxes, [one.category_id for one in self.annotations], *size)


@dataclass(frozen=True, slots=True)
class CocoUnit:
    """Images of an annotation file with their annotations."""

    image_dir: Path
    source: str
    split: str
    box_format: str
    images: tuple[DrawnImage, ...]

    def __len__(self) -> int:
        return len(self.images)

    def scan(self) -> list[ScannedImage]:
        return [self._scan_one(image) for image in self.images]

    def _scan_one(self, image: DrawnImage) -> ScannedImage:
        name = image.entry.file_name
        place = Place(self.source, self.split, name)
        try:
            with open_regular(self.image_dir / name) as file:
                data = file.read()
        except OSError as error:
            fault = f"cannot be read ({error.strerror})"
            return ScannedImage(place, name, findings=(Finding("image_unreadable", place, fault),))
        decoded = decode_image(data, as_record=False)
        header = ImageHeader(decoded.height, decoded.width, decoded.orientation)
        frame, checks = image.check(header, FORMATS[self.box_format])
        notes = [*decoded.notes]
        if decoded.readable and frame.differs_from(image.entry):
            said = f"{image.entry.width}x{image.entry.height}"
            notes.append(("image_size", f"has {frame.width_px}x{frame.height_px} pixels, but its entry says {said}"))
        for one, check in zip(image.annotations, checks, strict=True):
            if check.kind:
                notes.append((check.kind, f"annotation {one.id}: {check.text}"))
        kept = tuple(
            one.category_id for one, check in zip(image.annotations, checks, strict=True) if check.left is not None
        )
        if not kept and decoded.readable:
            notes.append(("image_without_boxes", "has no annotation" + (" left" if image.annotations else "")))
        findings = tuple(Finding(kind, place, text) for kind, text in notes)
        size = (decoded.height, decoded.width)
        digest = decoded.digest if data else b""
        return ScannedImage(place, name, len(data), digest, decoded.thumb, *size, kept, findings)


class CocoSource:
    """An annotation file.

    Args:
        path: The JSON file.
        image_dir: The folder of its images, or None for one of the usual places.
        box_format: The name of the format of its boxes, or "auto" to recognize it.
        boxes_are: Whether boxes were drawn on the "upright" or the "stored" picture, or "auto" to find out.

    Raises:
        RunError: The file cannot be read, is not JSON, or lacks a list of images, annotations or categories.
        UsageError: Its images are in none of the usual places.
    """

    task = "detection"

    def __init__(
        self, path: Path, image_dir: Path | None = None, *, box_format: str = AUTO, boxes_are: str = AUTO
    ) -> None:
        self.path = path
        words = _WORD.findall(path.stem.lower())
        splits = (split for begin, split in _SPLITS.items() if any(word.startswith(begin) for word in words))
        self.split = next(splits, path.stem)
        needs_boxes = self.split != _SPLITS["test"]
        read = read_entries(path, need_annotations=needs_boxes)
        self._content = read.content
        self.findings = [self._finding(fault.kind, fault.text) for fault in read.faults]
        self.classes: Mapping[int, str] = read.file.names
        self.image_dir = image_dir or find_images(path, [image.file_name for image in read.file.images])
        needs_boxes = needs_boxes and not read.faults
        found = survey(read.file, self.image_dir, box_format=box_format, boxes_are=boxes_are, needs_boxes=needs_boxes)
        self.findings += [
            self._finding(problem.kind, case.text, case.file) for problem in found.problems for case in problem.cases
        ]
        self._box_format, self._headers = found.box_format, found.headers
        by_image = read.file.by_image()
        self._images = [
            DrawnImage(image, by_image[image.id], image.id in found.upright)
            for image in _with_files_of_their_own(read.file.images, found.problems)
        ]
        self.what = f"COCO annotations of {self.split}, images in {self.image_dir}"

    def units(self) -> Sequence[ScanUnit]:
        place = (self.image_dir, str(self.path), self.split, self._box_format.name)
        return [CocoUnit(*place, tuple(self._images[part])) for part in chunks(len(self._images))]

    def repair(self, out: Path, images: Sequence[ScannedImage], dropped: frozenset[Place]) -> None:
        """Writes the file without the dropped entries, clipping boxes to their images; does not copy the images.

        Raises:
            RunError: Its boxes are in another format than COCO's, or images were resized without their boxes.
        """
        if any(finding.kind == "image_resized" for finding in self.findings):
            raise RunError(f"--fix: {self.path}: scale the boxes of the resized images first")
        if self._box_format != COCO:
            raise RunError(
                f"--fix: {self.path}: its boxes are not {COCO.words}; tools.create_coco_tfrecord reads them with "
                f"--box_format={self._box_format.name}"
            )
        kept = {
            one.place.file: one for one in images if one.place.source == str(self.path) and one.place not in dropped
        }
        sizes: dict[int, dict[str, int]] = {}
        boxes: dict[int, list[float]] = {}
        for image in self._images:
            if image.entry.file_name in kept:
                scanned = kept[image.entry.file_name]
                orientation = self._headers[image.entry.id].orientation if image.entry.id in self._headers else 1
                frame, checks = image.check(ImageHeader(scanned.height, scanned.width, orientation), COCO)
                sizes[image.entry.id] = _size_to_write(image.entry, frame)
                boxes |= _boxes_to_write(image, checks)
        content = dict(self._content)
        content["images"] = [{**one, **sizes[one["id"]]} for one in _first_of_each(content["images"], sizes)]
        content["annotations"] = [
            {**one, "bbox": boxes[one["id"]]} for one in _first_of_each(content.get("annotations", []), boxes)
        ]
        content["categories"] = list(_first_of_each(content["categories"], self.classes))
        write_atomically(out / self.path.name, json.dumps(content).encode())

    def _finding(self, kind: str, text: str, file: str = "") -> Finding:
        return Finding(kind, Place(str(self.path), self.split, file or self.path.name), text)


def _with_files_of_their_own(images: Iterable[CocoImage], problems: Iterable[Problem]) -> list[CocoImage]:
    """The images except those whose file may not be read or belongs to an earlier entry."""
    left_out = {one.image_id for problem in problems if problem.leaves_out for one in problem.cases}
    return [image for image in images if image.id not in left_out]


def _size_to_write(entry: CocoImage, frame: Frame) -> dict[str, int]:
    """The size of an entry if it gives a wrong one, else nothing."""
    return {"height": frame.height_px, "width": frame.width_px} if frame.differs_from(entry) else {}


def _boxes_to_write(image: DrawnImage, checks: Iterable[BoxCheck]) -> dict[int, list[float]]:
    """The box of each annotation that is kept, clipped to its image."""
    boxes: dict[int, list[float]] = {}
    for one, check in zip(image.annotations, checks, strict=True):
        if check.left is not None:
            ymin, xmin, ymax, xmax = check.left
            cut = check.kind == "box_outside"
            boxes[one.id] = [xmin, ymin, xmax - xmin, ymax - ymin] if cut else list(one.box_px)
    return boxes


def _first_of_each(entries: Sequence[Any], wanted: Mapping[int, Any]) -> list[dict[str, Any]]:
    """The first entry of each wanted id."""
    found: dict[int, dict[str, Any]] = {}
    for entry in entries:
        if isinstance(entry, dict) and is_kind(entry.get("id"), int) and entry["id"] in wanted:
            found.setdefault(entry["id"], entry)
    return list(found.values())


def find_images(path: Path, names: Sequence[str]) -> Path:
    """The folder of an annotation file's images: the first usual place that has one of the first images.

    Without a valid name of an image, it is the file's own folder.

    Raises:
        UsageError: None of the usual places has one.
    """
    if not names:
        return path.parent
    above, words = path.parent, [word for word in ("train", "val", "test") if word in path.stem.lower()]
    splits = [*(path.stem.removeprefix("instances_"), path.stem), *words, *(f"{word}2017" for word in words)]
    places = [above, *(root / name for root in (above, above.parent, above.parent / "images") for name in splits)]
    places += [above / "images", above.parent / "images", above.parent]
    for place in places:
        if any((place / name).is_file() for name in names[:20]):
            return place
    raise UsageError(
        f"{path}: its images are in none of the usual places, such as {above}; give their folder with --image_dir"
    )
