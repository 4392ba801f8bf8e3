"""What images and boxes go through before the network: augmentation, then the resize to the network's square.

Images are RGB in 0..255. All randomness is stateless: the same seed gives the same pixels and boxes.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from object_detection import box_ops
from utils.detection_config import AugmentationStep, ColorSpec, CropSpec, FlipSpec
from utils.image_processing import CHANNELS, CROP_ATTEMPTS, decode_full, resize_bilinear_legacy


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
    """The whole image, whatever its shape, as ``[size, size, 3]`` float32."""
    return to_square(decode_full(encoded), size)


def augment(
    encoded: tf.Tensor, objects: Objects, seed: tf.Tensor, steps: tuple[AugmentationStep, ...], size: int
) -> tuple[tf.Tensor, Objects]:
    """Applies ``steps`` in their order and resizes.

    What changes colors is applied after resizing, whatever its place: on a fraction of the pixels.

    Args:
        encoded: scalar bytes.
        objects: what the image shows.
        seed: ``[2]`` integers.
        steps: what to do.
        size: side of the result in pixels.

    Returns:
        ``[size, size, 3]`` float32, and the objects that are still to be seen.
    """
    image = decode_full(encoded)
    seeds = tf.unstack(tf.random.split(seed, max(len(steps), 1)))
    for step, step_seed in zip(steps, seeds, strict=False):
        if isinstance(step, FlipSpec):
            image, objects = _random_flip(image, objects, step_seed)
        elif isinstance(step, CropSpec):
            image, objects = _random_crop(image, objects, step_seed, step)
    image = to_square(image, size)
    for step, step_seed in zip(steps, seeds, strict=False):
        if isinstance(step, ColorSpec):
            image = _distort_colors(image, step_seed, step)
    return image, objects


def to_square(image: tf.Tensor, size: int) -> tf.Tensor:
    """``[H, W, 3]`` to ``[size, size, 3]`` float32, whatever the aspect ratio."""
    return tf.ensure_shape(resize_bilinear_legacy(image, size, size), [size, size, CHANNELS])


def _random_flip(image: tf.Tensor, objects: Objects, seed: tf.Tensor) -> tuple[tf.Tensor, Objects]:
    """Mirrored left to right half of the time."""
    flip = tf.random.stateless_uniform([], seed) > 0.5
    boxes = tf.where(flip, box_ops.flip_left_right(objects.boxes), objects.boxes)
    return tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image), objects._replace(boxes=boxes)


def _random_crop(image: tf.Tensor, objects: Objects, seed: tf.Tensor, spec: CropSpec) -> tuple[tf.Tensor, Objects]:
    """A random part of the image, and the objects of which enough lies inside."""
    begin, extent, window = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(image),
        tf.clip_by_value(objects.boxes, 0.0, 1.0)[tf.newaxis],
        seed=seed,
        min_object_covered=spec.min_object_covered,
        aspect_ratio_range=spec.aspect_ratio,
        area_range=spec.area,
        max_attempts=CROP_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    window = window[0, 0]
    if spec.skip_probability > 0:
        skip = tf.random.stateless_uniform([], seed + 1) < spec.skip_probability
        begin = tf.where(skip, tf.zeros_like(begin), begin)
        extent = tf.where(skip, tf.concat([tf.shape(image)[:2], [-1]], axis=0), extent)
        window = tf.where(skip, tf.constant([0.0, 0.0, 1.0, 1.0]), window)
    part = tf.ensure_shape(tf.slice(image, begin, extent), [None, None, CHANNELS])
    return part, crop_objects(objects, window, spec.overlap, clip=spec.clip_boxes)


def crop_objects(objects: Objects, window: tf.Tensor, overlap: float, *, clip: bool) -> Objects:
    """The objects seen in a window ``[4]``, in its coordinates.

    Those completely outside are gone, and those of which less than the part ``overlap`` lies inside.
    """
    kept = box_ops.touches_inside(objects.boxes, window) & (box_ops.covered(objects.boxes, window) >= overlap)
    objects = Objects(*(tf.boolean_mask(values, kept) for values in objects))
    boxes = box_ops.change_frame(objects.boxes, window)
    return objects._replace(boxes=box_ops.clip(boxes, tf.constant([0.0, 0.0, 1.0, 1.0])) if clip else boxes)


def _distort_colors(image: tf.Tensor, seed: tf.Tensor, spec: ColorSpec) -> tf.Tensor:
    """Another brightness, saturation, hue and contrast, each clipped to the range of pixels."""
    brightness, saturation, hue, contrast = tf.unstack(tf.random.stateless_uniform([4], seed))

    def between(share: tf.Tensor, low: float, high: float) -> tf.Tensor:
        return low + share * (high - low)

    brighter = ("brightness", lambda x: x + between(brightness, -spec.brightness, spec.brightness))
    more_saturated = ("saturation", lambda x: tf.image.adjust_saturation(x, between(saturation, *spec.saturation)))
    turned = ("hue", lambda x: tf.image.adjust_hue(x, between(hue, -spec.hue, spec.hue)))
    more_contrast = ("contrast", lambda x: tf.image.adjust_contrast(x, between(contrast, *spec.contrast)))
    orders = {
        0: (brighter, more_saturated, turned, more_contrast),
        1: (brighter, more_contrast, more_saturated, turned),
    }
    image = image / 255.0
    for name, change in orders[spec.ordering]:
        with tf.name_scope(name):
            image = tf.clip_by_value(change(image), 0.0, 1.0)
    return image * 255.0
