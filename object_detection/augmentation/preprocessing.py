"""Preprocessing of images and boxes for detection: geometric augmentation and the resize to the network's input.

Images are RGB in 0..255. All randomness is stateless: the same seed gives the same pixels and boxes.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from object_detection.augmentation.random_placement import random_placement, visible_window
from object_detection.boxes import box_ops
from utils.image_processing import (
    View,
    cropped,
    decode_view,
    in_proportion,
    mirrored_if,
    random_window,
    whole_view,
)
from utils.image_sizes import ImageSize, sides_of
from utils.input.augmentation import PHOTOMETRIC_STEPS, GeometricStep, StepTable
from utils.input.augmentation_specs import CropSpec, FitSpec, FlipSpec, RotateSpec, ScaleSpec, VerticalFlipSpec
from utils.weights.pretrained_config import Rgb


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


class NumberedObjects(NamedTuple):
    """``Objects`` that know which of an image's objects they are.

    Attributes:
        boxes: As in ``Objects``, and so are the next three.
        slots: See there.
        weights: See there.
        ignored: See there.
        numbers: ``[G]`` int32, their rows in the record.
    """

    boxes: tf.Tensor
    slots: tf.Tensor
    weights: tf.Tensor
    ignored: tf.Tensor
    numbers: tf.Tensor


def preprocess_image(encoded: tf.Tensor, size: ImageSize, border: Rgb | None = None) -> tf.Tensor:
    """Resizes a whole image of any shape to ``[H, W, 3]`` float32: in its proportions with a border, else stretched."""
    return decode_view(fitted_view(encoded, size, border), size, border=border)


def fitted_view(encoded: tf.Tensor, size: ImageSize, border: Rgb | None) -> View:
    """The view of a whole image that ``preprocess_image`` decodes."""
    view = whole_view(encoded, size)
    return view if border is None else in_proportion(view, size)


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


def _fit(view: View, objects: Objects, seed: tf.Tensor, spec: FitSpec) -> tuple[View, Objects]:
    """Keeps the proportions of what the view shows; the boxes become those in the network's input."""
    view = in_proportion(view, spec.size)
    share = tf.cast(view.resized, tf.float32) / tf.constant(sides_of(spec.size), tf.float32)
    return view, objects._replace(boxes=objects.boxes * tf.tile(share, [2]))


def crop_objects(objects: Objects, window: tf.Tensor, overlap: float, *, clip: bool) -> Objects:
    """Returns the objects in a window ``[4]``, in its coordinates.

    Objects completely outside are dropped, and so are those with less than the share ``overlap`` of their area inside.
    """
    kept = box_ops.touches_inside(objects.boxes, window) & (box_ops.covered(objects.boxes, window) >= overlap)
    objects = type(objects)(*(tf.boolean_mask(values, kept) for values in objects))
    boxes = box_ops.change_frame(objects.boxes, window)
    return objects._replace(boxes=box_ops.clip(boxes, tf.constant([0.0, 0.0, 1.0, 1.0])) if clip else boxes)


def _random_vertical_flip(
    view: View, objects: Objects, seed: tf.Tensor, spec: VerticalFlipSpec
) -> tuple[View, Objects]:
    """Flips top to bottom with probability 0.5; the pixels follow in ``_flipped``."""
    boxes = tf.where(_flips(seed), box_ops.flip_up_down(objects.boxes), objects.boxes)
    return view, objects._replace(boxes=boxes)


def _flipped(image: tf.Tensor, seed: tf.Tensor, spec: VerticalFlipSpec) -> tf.Tensor:
    return tf.ensure_shape(tf.cond(_flips(seed), lambda: tf.reverse(image, [0]), lambda: image), image.shape)


def _flips(seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([], seed) > 0.5


def _random_rotation(view: View, objects: Objects, seed: tf.Tensor, spec: RotateSpec) -> tuple[View, Objects]:
    """Turns by a random number of quarters; the pixels follow in ``_rotated``."""
    turned = [objects.boxes]
    for _ in range(3):
        turned.append(box_ops.turn_left(turned[-1]))
    return view, objects._replace(boxes=tf.gather(tf.stack(turned), _quarters(seed, spec)))


def _rotated(image: tf.Tensor, seed: tf.Tensor, spec: RotateSpec) -> tf.Tensor:
    turns = (
        lambda: image,
        lambda: tf.reverse(tf.transpose(image, [1, 0, 2]), [0]),
        lambda: tf.reverse(image, [0, 1]),
        lambda: tf.reverse(tf.transpose(image, [1, 0, 2]), [1]),
    )
    return tf.ensure_shape(tf.switch_case(_quarters(seed, spec), turns), image.shape)


def _quarters(seed: tf.Tensor, spec: RotateSpec) -> tf.Tensor:
    chosen = tf.random.stateless_uniform([], seed, 0, len(spec.turns), tf.int32)
    return tf.gather(tf.constant(spec.turns, tf.int32), chosen)


def _random_scale(view: View, objects: Objects, seed: tf.Tensor, spec: ScaleSpec) -> tuple[View, Objects]:
    """Resizes a whole view and cuts it, or leaves a border around it."""
    sides = view.resized if spec.size is None else tf.constant(sides_of(spec.size))
    placement = random_placement(view.resized, sides, seed, spec)
    resized, corner = (tf.cast(values, tf.int32) for values in placement)
    kept = crop_objects(objects, visible_window(placement, view.resized, sides), spec.min_visible, clip=True)
    return view._replace(resized=resized, corner=corner), kept


DETECTION_TABLE: StepTable = {
    FlipSpec: GeometricStep(_random_flip),
    CropSpec: GeometricStep(_random_crop),
    FitSpec: GeometricStep(_fit),
    ScaleSpec: GeometricStep(_random_scale),
    VerticalFlipSpec: GeometricStep(_random_vertical_flip, move=_flipped),
    RotateSpec: GeometricStep(_random_rotation, move=_rotated),
    **PHOTOMETRIC_STEPS,
}
"""Augmentation steps of detection; geometric steps also transform ``Objects``."""
