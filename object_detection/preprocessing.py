"""Preprocessing of images and boxes for detection: geometric augmentation and the resize to a square.

Images are RGB in 0..255. All randomness is stateless: the same seed gives the same pixels and boxes.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from object_detection import box_ops
from utils.image_processing import View, cropped, decode_view, mirrored_if, random_window, whole_view
from utils.input.augmentation import PHOTOMETRIC_STEPS, GeometricStep, StepTable
from utils.input.augmentation_specs import CropSpec, FlipSpec


class Objects(NamedTuple):
    """The objects of one image, G rows each.

    Attributes:
        boxes: ``[G, 4]`` float32, ``[ymin, xmin, ymax, xmax]`` in [0, 1].
        slots: ``[G]`` int32, the class slot to train.
        weights: ``[G]`` float32.
        ignored: ``[G]`` boolean, regions that hold no object to train.
    """

    boxes: tf.Tensor
    slots: tf.Tensor
    weights: tf.Tensor
    ignored: tf.Tensor


def preprocess_image(encoded: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes a whole image of any shape to ``[size, size, 3]`` float32."""
    return decode_view(whole_view(encoded, size), size)


def _random_flip(view: View, objects: Objects, seed: tf.Tensor, spec: FlipSpec) -> tuple[View, Objects]:
    """Mirrors left to right with probability 0.5."""
    flip = tf.random.stateless_uniform([], seed) > 0.5
    boxes = tf.where(flip, box_ops.flip_left_right(objects.boxes), objects.boxes)
    return mirrored_if(view, flip), objects._replace(boxes=boxes)


def _random_crop(view: View, objects: Objects, seed: tf.Tensor, spec: CropSpec) -> tuple[View, Objects]:
    """Crops the view randomly and keeps the objects that lie inside far enough."""
    boxes = tf.clip_by_value(objects.boxes, 0.0, 1.0)
    part, window = random_window(view.window[2:], boxes, seed, spec, spec.min_object_covered)
    return cropped(view, part), crop_objects(objects, window, spec.overlap, clip=spec.clip_boxes)


def crop_objects(objects: Objects, window: tf.Tensor, overlap: float, *, clip: bool) -> Objects:
    """Returns the objects in a window ``[4]``, in its coordinates.

    Objects completely outside are dropped, and so are those with less than the share ``overlap`` of their area inside.
    """
    kept = box_ops.touches_inside(objects.boxes, window) & (box_ops.covered(objects.boxes, window) >= overlap)
    objects = Objects(*(tf.boolean_mask(values, kept) for values in objects))
    boxes = box_ops.change_frame(objects.boxes, window)
    return objects._replace(boxes=box_ops.clip(boxes, tf.constant([0.0, 0.0, 1.0, 1.0])) if clip else boxes)


DETECTION_TABLE: StepTable = {
    FlipSpec: GeometricStep(_random_flip),
    CropSpec: GeometricStep(_random_crop),
    **PHOTOMETRIC_STEPS,
}
"""Augmentation steps of detection; geometric steps also transform ``Objects``."""
