"""Bounding boxes of a classification data set, from XML files or a CSV file (no TF).

Boxes are (ymin, xmin, ymax, xmax) as fractions of the image, rounded to 4 decimals and clipped to [0, 1]. Swapped
corners are exchanged; boxes without area are dropped. The coordinates refer to the pixels as stored, before any EXIF
rotation, unless the size in an XML file is that of the upright picture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from tools.convert.csv_rows import csv_rows
from tools.convert.sources import SYNSET, SourceSet
from utils.errors import RunError, UsageError
from utils.files.regular_file import open_regular
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


@dataclass(slots=True)
class BoundingBoxes:
    """Boxes by file name without suffix, each with the synset that it was drawn for, if given.

    ``sizes`` holds the height and width of the picture that they were drawn on, as their XML file gives it.
    """

    by_stem: dict[str, list[tuple[Box, str | None]]] = field(default_factory=dict)
    sizes: dict[str, tuple[float, float]] = field(default_factory=dict)
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

    def size_of(self, image_name: str) -> tuple[float, float] | None:
        """The height and width of the picture that the boxes of an image were drawn on, if given."""
        return self.sizes.get(PurePosixPath(image_name).stem)


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
    elif path.exists():
        _read_csv(path, boxes)
    else:
        raise RunError(
            f"--bounding_boxes {path}: no such file or folder; must be a folder of XML files or a CSV file"
            f"{path_hint(path)}"
        )
    return boxes


def _read_xml(path: Path, boxes: BoundingBoxes) -> None:
    try:
        with open_regular(path) as file:
            root = ElementTree.parse(file).getroot()
        width, height = (float(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
        boxes.sizes[path.stem] = (height, width)
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
    with csv_rows(path, "--bounding_boxes", "file name,xmin,ymin,xmax,ymax") as rows:
        for _, row in rows:
            if not row:
                continue
            name, xmin, ymin, xmax, ymax = row
            box = clean_box(float(ymin), float(xmin), float(ymax), float(xmax))
            boxes.add(PurePosixPath(name.strip()).stem, box, None)


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
