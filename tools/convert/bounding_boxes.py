"""Bounding boxes of a classification data set, from XML files or a CSV file (no TF).

Boxes are (ymin, xmin, ymax, xmax) as fractions of the image, rounded to 4 decimals and clipped to [0, 1]. Swapped
corners are exchanged; boxes without area are dropped. The coordinates refer to the pixels as stored, before any EXIF
rotation, as annotation tools that ignore EXIF show them.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from tools.convert.sources import SYNSET, SourceSet
from utils.errors import RunError, UsageError
from utils.suggestions import path_hint
from utils.text import plural

Box = tuple[float, float, float, float]
DECIMALS = 4


def clean_box(ymin: float, xmin: float, ymax: float, xmax: float) -> Box | None:
    """The box as records store it, or None if it has no area or a coordinate is not a number."""
    values = [min(max(round(value, DECIMALS), 0.0), 1.0) for value in (ymin, xmin, ymax, xmax) if value == value]
    if len(values) < 4:
        return None
    top, bottom = sorted((values[0], values[2]))
    left, right = sorted((values[1], values[3]))
    return (top, left, bottom, right) if bottom > top and right > left else None


def turn_box(box: Box, orientation: int) -> Box:
    """The box after an image with this EXIF orientation (1 to 8) is turned upright."""
    ymin, xmin, ymax, xmax = box
    if orientation >= 5:  # transposed
        ymin, xmin, ymax, xmax = xmin, ymin, xmax, ymax
    if orientation in (3, 4, 7, 8):  # flipped vertically
        ymin, ymax = 1.0 - ymax, 1.0 - ymin
    if orientation in (2, 3, 6, 7):  # flipped horizontally
        xmin, xmax = 1.0 - xmax, 1.0 - xmin
    return ymin, xmin, ymax, xmax


@dataclass(slots=True)
class BoundingBoxes:
    """Boxes by file name without suffix, each with the synset that it was drawn for, if given."""

    by_stem: dict[str, list[tuple[Box, str | None]]] = field(default_factory=dict)
    dropped: int = 0

    def add(self, stem: str, box: Box | None, synset: str | None) -> None:
        """Keeps a box, or counts it as dropped if cleaning left none."""
        if box is None:
            self.dropped += 1
        else:
            self.by_stem.setdefault(stem, []).append((box, synset))

    def of(self, image_name: str, class_folder: str) -> tuple[Box, ...] | None:
        """The boxes of an image except those of another synset than its class; None if there are none."""
        entries = self.by_stem.get(PurePosixPath(image_name).stem, ())
        is_synset = SYNSET.fullmatch(class_folder) is not None
        boxes = tuple(box for box, synset in entries if synset is None or synset == class_folder or not is_synset)
        return boxes or None


def read_bounding_boxes(path: Path) -> BoundingBoxes:
    """Reads ``--bounding_boxes``: a folder of PASCAL-style XML files at any depth, or a CSV file.

    The CSV has lines "file name, xmin, ymin, xmax, ymax" in fractions of the image, and no header.

    Raises:
        UsageError: The folder holds no annotation file.
        RunError: The path does not exist, or a file is damaged; the message names it.
    """
    boxes = BoundingBoxes()
    if path.is_dir():
        files = sorted(path.rglob("*.xml"))
        for file in files:
            _read_xml(file, boxes)
        if not files:
            raise UsageError(f"--bounding_boxes {path}: the folder holds no .xml file")
    elif path.is_file():
        _read_csv(path, boxes)
    else:
        raise RunError(
            f"--bounding_boxes {path}: no such file or folder; must be a folder of XML files or a CSV file"
            f"{path_hint(path)}"
        )
    return boxes


def _read_xml(path: Path, boxes: BoundingBoxes) -> None:
    try:
        root = ElementTree.parse(path).getroot()
        width, height = (float(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
        for item in root.iter("object"):
            xmin, ymin, xmax, ymax = (
                float(item.findtext(f"bndbox/{edge}", "")) for edge in ("xmin", "ymin", "xmax", "ymax")
            )
            name = item.findtext("name", "").strip()
            synset = sys.intern(name) if SYNSET.fullmatch(name) else None
            boxes.add(path.stem, clean_box(ymin / height, xmin / width, ymax / height, xmax / width), synset)
    except (ElementTree.ParseError, ValueError, ZeroDivisionError, OSError) as error:
        raise RunError(f"--bounding_boxes: {path}: cannot be read as an annotation ({error})") from error


def _read_csv(path: Path, boxes: BoundingBoxes) -> None:
    row: list[str] = []
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):  # noqa: B007  (the message below names it)
                if not row:
                    continue
                name, xmin, ymin, xmax, ymax = row
                box = clean_box(float(ymin), float(xmin), float(ymax), float(xmax))
                boxes.add(PurePosixPath(name.strip()).stem, box, None)
    except OSError as error:
        raise RunError(f"--bounding_boxes {path}: cannot be read ({error.strerror})") from error
    except (ValueError, csv.Error) as error:
        raise RunError(
            f"--bounding_boxes {path}: line {number} is {','.join(row)[:60]!r}; must be file name,xmin,ymin,xmax,ymax"
        ) from error


def check_boxes(boxes: BoundingBoxes, sources: SourceSet, flag_value: Path) -> list[str]:
    """Compares the boxes with the images they are for.

    Returns:
        Sentences about unused boxes.

    Raises:
        UsageError: No box belongs to an image, or one belongs to several images with the same file name.
    """
    seen: set[str] = set()
    for stem in _stems(sources):
        if stem in boxes.by_stem and stem in seen:
            raise UsageError(
                f"--bounding_boxes {flag_value}: several images are named {stem}, so its boxes are ambiguous; "
                "with boxes, file names must differ across classes and splits"
            )
        seen.add(stem)
    unused = boxes.by_stem.keys() - seen
    if len(unused) == len(boxes.by_stem):
        raise UsageError(
            f"--bounding_boxes {flag_value}: none of its {plural(len(unused), 'file name')} belongs to an image"
        )
    sentences = []
    if unused:
        sentences.append(f"--bounding_boxes {flag_value}: no image for {plural(len(unused), 'file name')}")
    if boxes.dropped:
        sentences.append(f"--bounding_boxes {flag_value}: dropped {plural(boxes.dropped, 'box')} without area")
    return sentences


def _stems(sources: SourceSet) -> Iterable[str]:
    for classes in sources.splits.values():
        for images in classes.values():
            for image in images:
                yield PurePosixPath(image.name).stem
