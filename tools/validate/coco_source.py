"""An annotation file in COCO's format as a source, with its images (no TF)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from object_detection.coco.annotations import (
    CocoAnnotation,
    CocoImage,
    annotation_from,
    category_from,
    image_from,
)
from tools.validate.boxes import Box, BoxCheck, check_boxes
from tools.validate.decoded_image import DecodedImage, decode_image
from tools.validate.findings import Finding, Place
from tools.validate.scan import ScannedImage, ScanUnit, chunks
from utils.errors import RunError, UsageError
from utils.files.atomic_file import write_atomically
from utils.files.json_values import is_kind, shortened
from utils.suggestions import path_hint

_LISTS = ("images", "annotations", "categories")
_SPLITS = {"train": "train", "val": "validation", "test": "testdev"}
_TURNED = 5  # from this EXIF orientation on, height and width are swapped

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class CocoUnit:
    """Images of an annotation file with their annotations."""

    image_dir: Path
    source: str
    split: str
    images: tuple[tuple[CocoImage, tuple[CocoAnnotation, ...]], ...]

    def __len__(self) -> int:
        return len(self.images)

    def scan(self) -> list[ScannedImage]:
        return [self._scan_one(entry, objects) for entry, objects in self.images]

    def _scan_one(self, entry: CocoImage, objects: Sequence[CocoAnnotation]) -> ScannedImage:
        place = Place(self.source, self.split, entry.file_name)
        try:
            data = (self.image_dir / entry.file_name).read_bytes()
        except OSError as error:
            fault = f"cannot be read ({error.strerror})"
            return ScannedImage(place, entry.file_name, findings=(Finding("image_unreadable", place, fault),))
        decoded = decode_image(data, as_record=False)
        height, width, wrong_size = drawn_size(entry, decoded)
        notes = [*decoded.notes, *((("image_size", wrong_size),) if wrong_size else ())]
        checks = check_annotations(objects, height, width)
        for one, check in zip(objects, checks, strict=True):
            if check.kind:
                notes.append((check.kind, f"annotation {one.id}: {check.text}"))
        kept = tuple(o.category_id for o, check in zip(objects, checks, strict=True) if check.left is not None)
        if not kept and decoded.readable:
            notes.append(("image_without_boxes", "has no annotation" + (" left" if objects else "")))
        findings = tuple(Finding(kind, place, text) for kind, text in notes)
        size = (decoded.height, decoded.width)
        digest = decoded.digest if data else b""
        return ScannedImage(place, entry.file_name, len(data), digest, decoded.thumb, *size, kept, findings)


def drawn_size(entry: CocoImage, decoded: DecodedImage) -> tuple[int, int, str]:
    """Height and width of the pixels that boxes were drawn on, and the fault of the entry's size, or empty.

    The pixels are the stored ones, or the upright ones if EXIF turns the image and the entry has the upright size.
    """
    stored = (decoded.height, decoded.width)
    said = (entry.height, entry.width)
    if not decoded.readable or None in said or said == stored:
        return *stored, ""
    if decoded.orientation >= _TURNED and said == stored[::-1]:
        return decoded.width, decoded.height, ""
    fault = f"has {decoded.width}x{decoded.height} pixels, but its entry says {entry.width}x{entry.height}"
    return *stored, fault


def check_annotations(objects: Sequence[CocoAnnotation], height_px: int, width_px: int) -> list[BoxCheck]:
    """Checks the boxes of an image's annotations."""
    boxes: list[Box] = []
    for one in objects:
        x, y, width, height = one.box_px
        boxes.append((y, x, y + height, x + width))
    return check_boxes(boxes, [one.category_id for one in objects], height_px, width_px)


class CocoSource:
    """An annotation file.

    Args:
        path: The JSON file.
        image_dir: The folder of its images, or None for one of the usual places.

    Raises:
        RunError: The file cannot be read, is not JSON, or lacks a list of images, annotations or categories.
        UsageError: Its images are in none of the usual places.
    """

    task = "detection"

    def __init__(self, path: Path, image_dir: Path | None = None) -> None:
        self.path = path
        self.findings: list[Finding] = []
        self.split = next((name for word, name in _SPLITS.items() if word in path.stem.lower()), path.stem)
        self._content = _read(path)
        images = self._parsed("images", "image_entry", image_from)
        categories = self._parsed("categories", "category", category_from)
        self.classes: Mapping[int, str] = {one.id: one.name for one in categories.values()}
        self._check_names()
        annotations = self._parsed("annotations", "annotation", lambda entry: annotation_from(entry, False))
        self._images, self._annotations = images, self._with_references(images, annotations)
        names = [image.file_name for image in images.values()]
        self.image_dir = image_dir or find_images(path, names)
        self.what = f"COCO annotations of {self.split}, images in {self.image_dir}"

    def units(self) -> Sequence[ScanUnit]:
        by_image: dict[int, list[CocoAnnotation]] = {number: [] for number in self._images}
        for one in self._annotations.values():
            by_image[one.image_id].append(one)
        pairs = [(image, tuple(by_image[number])) for number, image in self._images.items()]
        return [CocoUnit(self.image_dir, str(self.path), self.split, tuple(pairs[part])) for part in chunks(len(pairs))]

    def repair(self, out: Path, images: Sequence[ScannedImage], dropped: frozenset[Place]) -> None:
        """Writes the file without the dropped entries, clipping boxes to their images; does not copy the images."""
        kept = {
            one.place.file: one for one in images if one.place.source == str(self.path) and one.place not in dropped
        }
        entries = {number: entry for number, entry in self._images.items() if entry.file_name in kept}
        boxes = self._boxes_kept(entries, kept)
        content = dict(self._content)
        content["images"] = [
            {**one, "height": kept[one["file_name"]].height, "width": kept[one["file_name"]].width}
            if says_another_size(kept[one["file_name"]])
            else one
            for one in _first_of_each(content["images"], entries)
        ]
        content["annotations"] = [
            {**one, "bbox": boxes[one["id"]]} for one in _first_of_each(content["annotations"], boxes)
        ]
        content["categories"] = list(_first_of_each(content["categories"], self.classes))
        write_atomically(out / self.path.name, json.dumps(content, ensure_ascii=False).encode())

    def _boxes_kept(self, entries: Mapping[int, CocoImage], kept: Mapping[str, ScannedImage]) -> dict[int, list[float]]:
        """The box of each annotation that is kept, clipped to its image."""
        boxes: dict[int, list[float]] = {}
        units = (unit for unit in self.units() if isinstance(unit, CocoUnit))
        for entry, objects in (pair for unit in units for pair in unit.images if pair[0].id in entries):
            size = _size_of(entry, kept[entry.file_name])
            for one, check in zip(objects, check_annotations(objects, *size), strict=True):
                if check.left is None:
                    continue
                ymin, xmin, ymax, xmax = check.left
                cut = check.kind == "box_outside"
                boxes[one.id] = [xmin, ymin, xmax - xmin, ymax - ymin] if cut else list(one.box_px)
        return boxes

    def _parsed(self, key: str, kind: str, parse: Callable[[dict[str, Any]], Parsed]) -> dict[int, Parsed]:
        """The valid entries of a list by their ids; adds a finding for each invalid one."""
        found: dict[int, Parsed] = {}
        for number, entry in enumerate(self._content[key]):
            name = f"entry {number} (from 0) of {key}"
            try:
                if not isinstance(entry, dict) or not is_kind(entry.get("id"), int):
                    raise ValueError(f"is {shortened(entry)}; must be an object with an integer id")
                name = f"id {entry['id']} of {key}"
                if entry["id"] in found:
                    raise ValueError("an earlier entry has the same id")
                found[entry["id"]] = parse(entry)
            except ValueError as error:
                self._add_finding(kind, f"{name}: {error}")
        return found

    def _check_names(self) -> None:
        seen: dict[str, int] = {}
        for number, name in list(self.classes.items()):
            if name in seen:
                self._add_finding("category", f"id {number} of categories: has the name {name!r} of id {seen[name]}")
                self.classes = {key: value for key, value in self.classes.items() if key != number}
            seen.setdefault(name, number)

    def _with_references(
        self, images: dict[int, CocoImage], annotations: dict[int, CocoAnnotation]
    ) -> dict[int, CocoAnnotation]:
        """The annotations whose image and category exist."""
        kept = {}
        files: dict[str, int] = {}
        for number, image in list(images.items()):
            if image.file_name in files:
                text = (
                    f"id {number} of images: its file {image.file_name!r} is also that of id {files[image.file_name]}"
                )
                self._add_finding("image_entry", text)
                del images[number]
            files.setdefault(image.file_name, number)
        for number, one in annotations.items():
            if one.image_id not in images:
                self._add_finding(
                    "annotation", f"id {number} of annotations: belongs to image {one.image_id}, which does not exist"
                )
            elif one.category_id not in self.classes:
                text = f"id {number} of annotations: has category {one.category_id}, which does not exist"
                self._add_finding("box_category", text)
            else:
                kept[number] = one
        return kept

    def _add_finding(self, kind: str, text: str) -> None:
        self.findings.append(Finding(kind, Place(str(self.path), self.split, self.path.name), text))


def _size_of(entry: CocoImage, image: ScannedImage) -> tuple[int, int]:
    """Height and width of the pixels that boxes were drawn on."""
    turned = (entry.height, entry.width) == (image.width, image.height) != (image.height, image.width)
    return (image.width, image.height) if turned and not says_another_size(image) else (image.height, image.width)


def says_another_size(image: ScannedImage) -> bool:
    """Returns whether the entry of an image gives a wrong size."""
    return any(finding.kind == "image_size" for finding in image.findings)


def _first_of_each(entries: Sequence[Any], wanted: Mapping[int, Any]) -> list[dict[str, Any]]:
    """The first entry of each wanted id."""
    found: dict[int, dict[str, Any]] = {}
    for entry in entries:
        if isinstance(entry, dict) and is_kind(entry.get("id"), int) and entry["id"] in wanted:
            found.setdefault(entry["id"], entry)
    return list(found.values())


def find_images(path: Path, names: Sequence[str]) -> Path:
    """The folder of an annotation file's images: the first usual place that has one of the first images.

    Raises:
        UsageError: None of the usual places has one.
    """
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


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}){path_hint(path)}") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: is not JSON ({error}); must be annotations in COCO's format") from error
    wrong = [key for key in _LISTS if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if wrong:
        raise RunError(f"{path}: must be an object with lists of {', '.join(_LISTS)}; it lacks {', '.join(wrong)}")
    found: dict[str, Any] = content
    return found
