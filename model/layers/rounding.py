"""Rounding to the levels of 8-bit integers, by TensorFlow's operations or element by element.

The kernels of TensorFlow's operations read a range from host memory (2.21). On a GPU each range would be copied to the
host in every step, and the step would wait for it. There, element-wise operations compute the same numbers.

All functions take float32 values, and ranges that are scalars or one per channel, the last axis. The gradient passes
within the range only; values that one channel rounds by a scale alone never leave it, and their gradient always passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

BITS = 8
SYMMETRIC = -(2.0**BITS - 2) / 2.0**BITS  # high end divided by low end: 127 levels against 128
_SMALLEST = 1e-12


def nudged(values: tf.Tensor, low: tf.Tensor, high: tf.Tensor, *, narrow: bool, device: str) -> tf.Tensor:
    """Rounds by a scale and an integer zero point, for which the range moves by up to half a level."""
    if device == "gpu":
        return _nudged_by_element(values, low, high, narrow=narrow)
    if low.shape.rank:
        return tf.quantization.fake_quant_with_min_max_vars_per_channel(values, low, high, BITS, narrow)
    return tf.quantization.fake_quant_with_min_max_vars(values, low, high, BITS, narrow)


def scaled(values: tf.Tensor, low: tf.Tensor, high: tf.Tensor, *, narrow: bool, device: str) -> tf.Tensor:
    """Rounds by a scale alone: zero stays zero, and the range is symmetric."""
    ratio = -1.0 if narrow else SYMMETRIC
    end = tf.maximum(tf.maximum(high, low * ratio), _SMALLEST)  # the operation divides by it
    if device == "gpu":
        return _scaled_by_element(values, end / ratio, end, narrow=narrow)
    if low.shape.rank:  # only this version of the operation accepts vectors (TensorFlow 2.21); nothing is clipped
        return tf.raw_ops.QuantizeAndDequantizeV3(
            input=values,
            input_min=end / ratio,
            input_max=end,
            num_bits=BITS,
            signed_input=True,
            range_given=True,
            narrow_range=narrow,
            axis=values.shape.rank - 1,
        )
    return tf.quantization.quantize_and_dequantize_v2(
        values,
        end / ratio,
        end,
        signed_input=True,
        num_bits=BITS,
        range_given=True,
        round_mode="HALF_TO_EVEN",
        narrow_range=narrow,
    )


def _nudged_by_element(values: tf.Tensor, low: tf.Tensor, high: tf.Tensor, *, narrow: bool) -> tf.Tensor:
    """Computes ``FakeQuantWithMinMaxVars``, with the operations of its kernel in their order."""
    first, last = float(narrow), 2.0**BITS - 1
    empty = tf.equal(low, 0.0) & tf.equal(high, 0.0)  # everything becomes 0, and all gradients pass
    width = tf.where(empty, last - first, high - low)
    scale, per_scale = _divided(width, last - first), (last - first) / width
    from_low = tf.clip_by_value(first - low / scale, first, last)
    whole = tf.floor(from_low)
    zero_point = whole + tf.cast(from_low - whole >= 0.5, tf.float32)
    start, end = (first - zero_point) * scale, (last - zero_point) * scale
    offset = tf.floor(-start * per_scale + 0.5)
    half = tf.where(empty, 0.0, 0.5)  # if it were constant, TensorFlow would add it to the offset first (2.21)

    def forward(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        clipped = tf.maximum(tf.minimum(x, end), start)
        shifted = clipped - start
        levels = shifted * per_scale if low.shape.rank else shifted / scale  # as the kernels for vectors and scalars
        return tf.floor(levels - offset + half) * tf.where(empty, 0.0, scale), tf.equal(x, clipped) | empty

    return _with_masked_gradient(forward, values)


def _scaled_by_element(values: tf.Tensor, low: tf.Tensor, high: tf.Tensor, *, narrow: bool) -> tf.Tensor:
    """Computes ``QuantizeAndDequantizeV4``, or V3 for vectors, with the operations of their kernels in their order."""
    first, last = -(2.0 ** (BITS - 1)) + narrow, 2.0 ** (BITS - 1) - 1
    by_low = first / low < last / high
    scale = tf.where(by_low, first / low, last / high)
    inverse = tf.where(by_low, _divided(low, first), _divided(high, last))
    start, end = tf.where(by_low, low, first * inverse), tf.where(by_low, last * inverse, high)

    def forward(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = tf.round(tf.maximum(tf.minimum(x, end), start) * scale) * inverse
        return outputs, tf.fill(tf.shape(x), True) if low.shape.rank else (x >= low) & (x <= high)

    return _with_masked_gradient(forward, values)


def _with_masked_gradient(forward: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], values: tf.Tensor) -> tf.Tensor:
    """Computes ``forward``, which returns outputs and a mask of the elements whose gradient passes."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow is not typed
    def quantized(x: tf.Tensor) -> Any:
        outputs, mask = forward(x)  # the backward pass needs a byte per element, not two tensors
        return outputs, lambda upstream: upstream * tf.cast(mask, tf.float32)

    return quantized(values)


def _divided(values: tf.Tensor, constant: float) -> tf.Tensor:
    """Divides exactly: TensorFlow turns a plain division by a constant into a product with its reciprocal (2.21)."""
    return tf.math.divide_no_nan(values, constant)
