"""Detections in the network's input become detections in the pictures that were padded to it.

Shape symbols: N batch, D detections.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from object_detection.boxes import box_ops
from utils.image_sizes import ImageSize
from utils.letterbox import share_of_input


def in_pictures(found: Mapping[str, Any], sizes: tf.Tensor, size: ImageSize) -> dict[str, Any]:
    """Moves detections from the network's input to the pictures, cuts them there and drops those outside.

    Args:
        found: "detection_boxes" ``[N, D, 4]`` in [0, 1] of the input, "detection_scores" and "detection_classes"
            ``[N, D]``, and "num_detections" ``[N]``; best first, zeros in the rows after an image's last.
        sizes: ``[N, 2]``, heights and widths of the pictures in pixels.
        size: Size of the input.

    Returns:
        The same tensors, with boxes in [0, 1] of the pictures.
    """
    share = tf.cast(share_of_input(tf.cast(sizes, tf.int64), size, tf), tf.float32)
    boxes = found["detection_boxes"] / tf.tile(share, [1, 2])[:, tf.newaxis]
    boxes = box_ops.clip(boxes, tf.constant([0.0, 0.0, 1.0, 1.0]))
    scores, count = found["detection_scores"], found["num_detections"]
    most = tf.shape(boxes)[1]
    place = tf.range(most, dtype=tf.float32)
    there = (place < tf.cast(count, tf.float32)[:, tf.newaxis]) & ((box_ops.area(boxes) > 0) | tf.math.is_nan(scores))
    order = tf.math.top_k(tf.where(there, -place, -math.inf), most)
    kept, rows = order.values > -math.inf, order.indices
    tensors = {"detection_boxes": boxes, "detection_scores": scores, "detection_classes": found["detection_classes"]}
    for name, tensor in tensors.items():
        gathered = tf.gather(tensor, rows, batch_dims=1)
        mask = kept[..., tf.newaxis] if len(tensor.shape) > len(kept.shape) else kept
        tensors[name] = tf.where(mask, gathered, tf.zeros_like(gathered))
    return {**tensors, "num_detections": tf.reduce_sum(tf.cast(kept, count.dtype), axis=1)}
