"""The record of one image with its objects, under the established keys for detection (no TF)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from object_detection.coco.annotations import CocoAnnotation, CocoImage
from object_detection.coco.box_formats import COCO, FORMATS
from object_detection.records.box_rules import Box
from tools.convert.box_frame import Frame, stored_header
from tools.convert.coco_survey import check_annotation
from tools.convert.instance_masks import draw_mask, encode_png, turn_mask
from tools.convert.remarks import Remarks
from tools.convert.sources import ImageSource
from utils.errors import RunError
from utils.images.image_files import EncodedImage
from utils.records.example_proto import Value

_EDGES = ("ymin", "xmin", "ymax", "xmax")
_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_LEFT_OUT = {
    "box_not_finite": "with a non-finite number, left out",
    "box_inverted": "without width or height, left out",
    "box_empty": "without width or height, left out",
    "box_outside": "outside the image, left out",
}
"""Remarks on boxes of which nothing is left, by the kind of their fault."""
_KEPT = {
    "box_outside": "past the edge of the image, cut to it",
    "box_tiny": "less than a pixel wide or high, kept",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoRecord:
    """One record: the image file, its entry in the annotation file, and its annotations.

    Attributes:
        image: The image file.
        entry: Its entry.
        annotations: Its annotations.
        category_names: One name per annotation.
        box_format: The name of the format of the boxes.
        upright: Whether boxes were drawn on the picture that EXIF turns upright, rather than on the stored one.
        masks: Whether to add a PNG mask of every object.
    """

    image: ImageSource
    entry: CocoImage
    annotations: tuple[CocoAnnotation, ...]
    category_names: tuple[str, ...]
    box_format: str = COCO.name
    upright: bool = False
    masks: bool = False

    def identity(self) -> tuple[Any, ...]:
        """Everything besides the image file that determines the record."""
        entry = self.entry
        objects = [
            (one.id, one.category_id, name, one.box_px, one.area_px, one.is_crowd, one.segmentation)
            for one, name in zip(self.annotations, self.category_names, strict=True)
        ]
        options = self.box_format, self.upright, self.masks
        return "coco", entry.id, entry.file_name, entry.height, entry.width, *options, objects

    def features(self, image: EncodedImage, remarks: Remarks) -> dict[str, Value]:
        """The features of the record; boxes are fractions of the decoded image, clipped to it.

        Raises:
            RunError: The mask of an object cannot be drawn.
        """
        frame = Frame.of(stored_header(image), upright=self.upright)
        if frame.differs_from(self.entry):
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
            "image/object/area": [self._area_px(one, box, image) for one, _, box in objects],
        }
        for column, edge in enumerate(_EDGES):
            features[f"image/object/bbox/{edge}"] = [box[column] for _, _, box in objects]
        if self.masks:
            features["image/object/mask"] = [self._mask(one, frame) for one, _, _ in objects]
        return features

    def _objects(self, frame: Frame, remarks: Remarks) -> Iterator[tuple[CocoAnnotation, str, Box]]:
        """Yields each annotation with a usable box, its class name, and its box in the upright image."""
        chosen = FORMATS[self.box_format]
        for one, name in zip(self.annotations, self.category_names, strict=True):
            check = check_annotation(one, chosen, frame.height_px, frame.width_px)
            where = f"{self.image.name} annotation {one.id}"
            if check.left is None:
                remarks.add("box", _LEFT_OUT[check.kind], where)
                continue
            box = frame.fractions(check.left)
            ymin, xmin, ymax, xmax = np.array(box, np.float32)  # as the record will hold it
            if ymax <= ymin or xmax <= xmin:
                remarks.add("box", "too small for the numbers of records, left out", where)
                continue
            if check.kind:
                remarks.add("box", _KEPT[check.kind], where)
            yield one, name, box

    def _area_px(self, one: CocoAnnotation, box: Box, image: EncodedImage) -> float:
        """The area of the outline, or of the box if the file gives no valid area in square pixels."""
        if one.area_px is not None and 0 <= one.area_px <= _LARGEST_FLOAT and FORMATS[self.box_format].side is None:
            return one.area_px
        return (box[2] - box[0]) * image.height * (box[3] - box[1]) * image.width

    def _mask(self, one: CocoAnnotation, frame: Frame) -> bytes:
        try:
            mask = draw_mask(one.segmentation, frame.height_px, frame.width_px)
        except ValueError as error:
            raise RunError(f"{self.image.name}: annotation {one.id}: its segmentation {error}") from error
        return encode_png(turn_mask(mask, frame.orientation))
