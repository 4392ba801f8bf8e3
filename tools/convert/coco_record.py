"""The record of one image with its objects, under the established keys for detection (no TF)."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from object_detection.coco.annotations import CocoAnnotation, CocoImage
from tools.convert.bounding_boxes import Box, turn_box
from tools.convert.instance_masks import draw_mask, encode_png, turn_mask
from tools.convert.remarks import Remarks
from tools.convert.sources import ImageSource
from utils.errors import RunError
from utils.images.image_files import EncodedImage
from utils.records.example_proto import Value

_EDGES = ("ymin", "xmin", "ymax", "xmax")
_ROUNDING_PX = 1e-3  # a box that exceeds the image by less is due to rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoRecord:
    """One record: the image file, its entry in the annotation file, and its annotations.

    ``category_names`` has one name per annotation. ``masks`` adds a PNG mask of every object.
    """

    image: ImageSource
    entry: CocoImage
    annotations: tuple[CocoAnnotation, ...]
    category_names: tuple[str, ...]
    masks: bool = False

    def identity(self) -> tuple[Any, ...]:
        """Everything besides the image file that determines the record."""
        entry = self.entry
        objects = [
            (one.id, one.category_id, name, one.box_px, one.area_px, one.is_crowd, one.segmentation)
            for one, name in zip(self.annotations, self.category_names, strict=True)
        ]
        return "coco", entry.id, entry.file_name, entry.height, entry.width, self.masks, objects

    def features(self, image: EncodedImage, remarks: Remarks) -> dict[str, Value]:
        """The features of the record; boxes are fractions of the decoded image, clipped to it.

        Raises:
            RunError: The mask of an object cannot be drawn.
        """
        frame = _Frame.of(image, self.entry)
        if frame.size_differs:
            said = f"{self.entry.width}x{self.entry.height}"
            is_now = f"{frame.width_px}x{frame.height_px}"
            remarks.add(
                *("image", "of another size than annotated, the file's own size was used"),
                f"{self.image.name} ({is_now}, not {said})",
            )
        objects = list(self._objects(frame, remarks))
        features: dict[str, Value] = {
            "image/height": image.height,
            "image/width": image.width,
            "image/filename": os.fsencode(self.entry.file_name),
            "image/source_id": str(self.entry.id).encode(),
            "image/key/sha256": hashlib.sha256(image.data).hexdigest().encode(),
            "image/encoded": image.data,
            "image/format": image.format.lower().encode(),
            "image/object/class/text": [name.encode() for _, name, _ in objects],
            "image/object/class/label": [one.category_id for one, _, _ in objects],
            "image/object/is_crowd": [int(one.is_crowd) for one, _, _ in objects],
            "image/object/area": [_area_px(one, box, image) for one, _, box in objects],
        }
        for column, edge in enumerate(_EDGES):
            features[f"image/object/bbox/{edge}"] = [box[column] for _, _, box in objects]
        if self.masks:
            features["image/object/mask"] = [self._mask(one, frame) for one, _, _ in objects]
        return features

    def _objects(self, frame: _Frame, remarks: Remarks) -> Iterator[tuple[CocoAnnotation, str, Box]]:
        """Yields each annotation with a usable box, its class name, and its box in the upright image."""
        for one, name in zip(self.annotations, self.category_names, strict=True):
            fault = _fault_of(one.box_px)
            where = f"{self.image.name} annotation {one.id}"
            box, was_cut = (None, False) if fault else frame.cut(one.box_px)
            if box is None:
                remarks.add("box", fault or "outside the image, left out", where)
                continue
            if was_cut:
                remarks.add("box", "past the edge of the image, cut to it", where)
            yield one, name, box

    def _mask(self, one: CocoAnnotation, frame: _Frame) -> bytes:
        try:
            mask = draw_mask(one.segmentation, frame.height_px, frame.width_px)
        except ValueError as error:
            raise RunError(f"{self.image.name}: annotation {one.id}: its segmentation {error}") from error
        return encode_png(turn_mask(mask, frame.orientation))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """The pixels that boxes were drawn on, and the rotation that makes the image upright.

    They are the pixels as stored, before any EXIF rotation, as in COCO's own tools. If the annotation file gives the
    size of the upright image, they are those of the upright image: the annotation tool had turned it.
    """

    height_px: int
    width_px: int
    orientation: int
    size_differs: bool

    @classmethod
    def of(cls, image: EncodedImage, entry: CocoImage) -> _Frame:
        upright, turned = (image.height, image.width), (image.width, image.height)
        said = None if entry.height is None or entry.width is None else (entry.height, entry.width)
        orientation, stored = image.orientation, upright
        if orientation >= 5 and said == upright != turned:
            orientation = 1
        elif orientation >= 5:
            stored = turned
        differs = said is not None and said != stored
        return cls(height_px=stored[0], width_px=stored[1], orientation=orientation, size_differs=differs)

    def cut(self, box_px: Sequence[float]) -> tuple[Box | None, bool]:
        """The clipped box in fractions of the upright image (None if outside), and whether any of it was cut off."""
        x, y, width, height = box_px
        out_px = max(-x, -y, x + width - self.width_px, y + height - self.height_px)
        edges = (y / self.height_px, x / self.width_px, (y + height) / self.height_px, (x + width) / self.width_px)
        top, left, bottom, right = (min(max(edge, 0.0), 1.0) for edge in edges)
        box = turn_box((top, left, bottom, right), self.orientation)
        ymin, xmin, ymax, xmax = np.array(box, np.float32)  # as the record will hold it
        return (box if ymax > ymin and xmax > xmin else None), out_px > _ROUNDING_PX


def _fault_of(box_px: Sequence[float]) -> str | None:
    """The fault of a box that is unusable in any image, worded as the end of a remark, or None."""
    if not all(map(math.isfinite, box_px)):
        return "with a non-finite number, left out"
    return "without width or height, left out" if min(box_px[2:]) <= 0 else None


def _area_px(one: CocoAnnotation, box: Box, image: EncodedImage) -> float:
    """The area of the outline, or of the box if the file gives no valid area."""
    if one.area_px is not None and math.isfinite(one.area_px) and one.area_px >= 0:
        return one.area_px
    return (box[2] - box[0]) * image.height * (box[3] - box[1]) * image.width
