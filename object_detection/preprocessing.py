"""What images and boxes go through before the network: augmentation, then the resize to the network's square.

Images are RGB in 0..255. All randomness is stateless: the same seed gives the same pixels and boxes.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from object_detection import box_ops
from utils.detection_config import AugmentationStep, ColorSpec, CropSpec, FlipSpec
from utils.image_processing import CHANNELS, CROP_ATTEMPTS, View, render, resize_bilinear_legacy, whole_view


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
    return render(whole_view(encoded, size), size)


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
    view, objects = augmented_view(encoded, objects, seed, steps, size)
    return recolor(render(view, size), seed, steps), objects


def augmented_view(
    encoded: tf.Tensor, objects: Objects, seed: tf.Tensor, steps: tuple[AugmentationStep, ...], size: int
) -> tuple[View, Objects]:
    """What ``augment`` shows of an image, colors aside, and the objects that are still to be seen."""
    view = whole_view(encoded, size)
    for step, step_seed in _seeded(steps, seed):
        if isinstance(step, FlipSpec):
            view, objects = _random_flip(view, objects, step_seed)
        elif isinstance(step, CropSpec):
            view, objects = _random_crop(view, objects, step_seed, step)
    return view, objects


def recolor(image: tf.Tensor, seed: tf.Tensor, steps: tuple[AugmentationStep, ...]) -> tf.Tensor:
    """Applies those of ``steps`` that change colors; the seed is that of ``augmented_view``."""
    for step, step_seed in _seeded(steps, seed):
        if isinstance(step, ColorSpec):
            image = _distort_colors(image, step_seed, step)
    return image


def _seeded(steps: tuple[AugmentationStep, ...], seed: tf.Tensor) -> list[tuple[AugmentationStep, tf.Tensor]]:
    """Each step with a seed of its own."""
    return list(zip(steps, tf.unstack(tf.random.split(seed, len(steps))), strict=True)) if steps else []


def to_square(image: tf.Tensor, size: int) -> tf.Tensor:
    """``[H, W, 3]`` to ``[size, size, 3]`` float32, whatever the aspect ratio."""
    return tf.ensure_shape(resize_bilinear_legacy(image, size, size), [size, size, CHANNELS])


def _random_flip(view: View, objects: Objects, seed: tf.Tensor) -> tuple[View, Objects]:
    """Mirrored left to right half of the time."""
    flip = tf.random.stateless_uniform([], seed) > 0.5
    boxes = tf.where(flip, box_ops.flip_left_right(objects.boxes), objects.boxes)
    return view._replace(mirrored=tf.not_equal(view.mirrored, flip)), objects._replace(boxes=boxes)


def _random_crop(view: View, objects: Objects, seed: tf.Tensor, spec: CropSpec) -> tuple[View, Objects]:
    """A random part of what is seen, and the objects of which enough lies inside."""
    _, _, height, width = tf.unstack(view.window)
    begin, extent, window = tf.image.stateless_sample_distorted_bounding_box(
        tf.stack([height, width, CHANNELS]),
        tf.clip_by_value(objects.boxes, 0.0, 1.0)[tf.newaxis],
        seed=seed,
        min_object_covered=spec.min_object_covered,
        aspect_ratio_range=spec.aspect_ratio,
        area_range=spec.area,
        max_attempts=CROP_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    begin, extent, window = begin[:2], extent[:2], window[0, 0]
    if spec.skip_probability > 0:
        skip = tf.random.stateless_uniform([], seed + 1) < spec.skip_probability
        begin = tf.where(skip, tf.zeros_like(begin), begin)
        extent = tf.where(skip, view.window[2:], extent)
        window = tf.where(skip, tf.constant([0.0, 0.0, 1.0, 1.0]), window)
    left = tf.where(view.mirrored, width - begin[1] - extent[1], begin[1])
    part = tf.concat([view.window[:2] + tf.stack([begin[0], left]), extent], axis=0)
    return view._replace(window=part), crop_objects(objects, window, spec.overlap, clip=spec.clip_boxes)


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
