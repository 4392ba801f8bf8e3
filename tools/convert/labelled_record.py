"""The record of an image with one label, and with the boxes of its objects where they are known (no TF)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from tools.convert.bounding_boxes import DECIMALS, Box, turn_box
from tools.convert.remarks import Remarks
from tools.convert.sources import ImageSource
from utils.images.image_files import EncodedImage
from utils.records.example_proto import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRecord:
    """What one record is made of. ``label`` counts from the label offset; ``text`` is the human name of the class."""

    image: ImageSource
    label: int
    synset: str
    text: str
    boxes: tuple[Box, ...] | None = None

    def identity(self) -> tuple[Any, ...]:
        """Everything but the image that decides the record."""
        return self.label, self.synset, self.text, self.boxes

    def features(self, image: EncodedImage, remarks: Remarks) -> dict[str, Value]:
        """The features of the record: the keys of ImageNet's own records (facts: Inception's data scripts)."""
        del remarks  # the boxes were checked when they were read
        features: dict[str, Value] = {
            "image/height": image.height,
            "image/width": image.width,
            "image/colorspace": b"RGB",
            "image/channels": 3,
            "image/class/label": self.label,
            "image/class/synset": self.synset.encode(),
            "image/class/text": self.text.encode(),
            "image/format": image.format.encode(),
            "image/filename": os.fsencode(self.image.name.rsplit("/", 1)[-1]),
            "image/encoded": image.data,
        }
        if self.boxes:
            boxes = [turn_box(box, image.orientation) for box in self.boxes]
            for column, edge in enumerate(("ymin", "xmin", "ymax", "xmax")):
                features[f"image/object/bbox/{edge}"] = [round(box[column], DECIMALS) for box in boxes]
            features["image/object/bbox/label"] = [self.label] * len(boxes)
        return features
