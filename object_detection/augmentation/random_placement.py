"""A random size of an image in the network's input, and its place there.

Height and width are apart throughout. All randomness is stateless: the same seed gives the same place.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from utils.input.augmentation_specs import ScaleSpec


class Placement(NamedTuple):
    """The size of an image, and the place of the network's input in it.

    Attributes:
        resized: ``[2]`` float32, height and width of the image in pixels.
        corner: ``[2]`` float32, top and left of the input in it; below 0 where the image is smaller.
    """

    resized: tf.Tensor
    corner: tf.Tensor


def random_placement(extent: tf.Tensor, sides: tf.Tensor, seed: tf.Tensor, spec: ScaleSpec) -> Placement:
    """Draws a scale and a place evenly, both in whole pixels; a larger image fills the input, a smaller one lies in it.

    Args:
        extent: ``[2]``, height and width in pixels that the image has without a scale.
        sides: ``[2]``, those of the network's input.
        seed: ``[2]`` integers.
        spec: The limits of the scale.
    """
    sides = tf.cast(sides, tf.float32)
    drawn = tf.random.stateless_uniform([3], seed)
    smallest, largest = spec.scale
    resized = tf.maximum(tf.round(tf.cast(extent, tf.float32) * (smallest + drawn[0] * (largest - smallest))), 1.0)
    room = resized - sides
    return Placement(resized, tf.floor(tf.minimum(room, 0.0) + drawn[1:] * (tf.abs(room) + 1.0)))


def visible_window(placement: Placement, extent: tf.Tensor, sides: tf.Tensor) -> tf.Tensor:
    """The part that is seen, a box ``[4]`` in [0, 1] of the input as it shows the image without a scale.

    It reaches beyond where the image is smaller. Arguments as in ``random_placement``.
    """
    sides = tf.cast(sides, tf.float32)
    frame = placement.resized * sides / tf.cast(extent, tf.float32)  # the size of that input at this scale
    return tf.concat([placement.corner / frame, (placement.corner + sides) / frame], axis=0)
