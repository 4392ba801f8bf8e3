"""Fake quantization: numbers stay floats but take only the values of scaled 8-bit integers.

Ranges are variables under the names of TensorFlow 1's quantization-aware training. The range of weights spans their
latest values, in 255 levels; the range of activations is an exponential moving average over batches, in 256 levels. All
ranges contain 0. Ranges of weights are always symmetric, because 8-bit convolutions (TensorFlow Lite's among them)
support no others; the original made them symmetric for symmetric quantization only.

Source: Jacob et al., Quantization and Training of Neural Networks, arXiv:1712.05877; Wu et al., Integer Quantization,
arXiv:2004.09602 (symmetric ranges).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from model.layers.rounding import SYMMETRIC, nudged, scaled
from model.layers.variable import tf1, variable
from model.specs import QuantizationSpec

DECAY = 0.999
START = 6.0
STEP_NAME = "fake_quantization_step"
_SIGMOID = (0.0, 255.0 / 256.0)  # the usual range of 8-bit sigmoids


class _Range(NamedTuple):
    """The range of one quantizer in this graph, and the extremes of the batch that it has seen so far."""

    scope: str
    low: tf.Tensor
    high: tf.Tensor
    seen: tuple[tf.Tensor, tf.Tensor] | None = None


class FakeQuantizer:
    """Quantizes the weights and activations of one network in the current graph.

    In training, ranges follow the data, and ``collect_updates`` adds the updates that store them. In evaluation they
    come from the checkpoint.

    Args:
        spec: The kind of quantization.
        training: Whether ranges follow the data.
        dtype: Type of quantized activations; ranges, scales and rounding are float32.
        device: "gpu" to round with operations that never wait for the host. Only "cpu" leaves the operations that
            converters recognize.
    """

    def __init__(self, spec: QuantizationSpec, *, training: bool, dtype: tf.DType, device: str = "cpu") -> None:
        self._spec = spec
        self._training = training
        self._dtype = dtype
        self._device = device
        self._of_tensor: dict[object, _Range] = {}
        self._averages: dict[str, _Average] = {}
        self._updates: dict[str, list[tuple[tf.Variable, tf.Tensor]]] = {}
        self._active = self._after_delay() if training and spec.delay else None

    def weights(self, kernel: tf.Tensor, branch: str = "") -> tf.Tensor:
        """Quantizes a float32 kernel, output channels last; its range lives in ``weights_quant`` of the current scope.

        Args:
            kernel: The kernel as it is used, normalization folded in.
            branch: Scope in ``weights_quant`` for one of several uses of the kernel.
        """
        by_channel = self._spec.per_channel and kernel.shape.rank == 4  # TensorFlow Lite: matrices per tensor
        shape, axes = ((kernel.shape[3],), [0, 1, 2]) if by_channel else ((), None)
        with tf1.variable_scope(_path("weights_quant", branch)):
            scope, low, high = _range_variables(shape, -START)
        if self._training:
            high_now = tf.reduce_max(tf.abs(tf.stop_gradient(tf.convert_to_tensor(kernel))), axes)
            low_now = -high_now
            self._updates[scope] = [(low, low_now), (high, high_now)]
            low, high = low_now, high_now
        return self._quantize(kernel, _Range(scope, low, high), narrow=True)

    def activation(self, inputs: tf.Tensor, name: str = "act_quant", *, positive: bool = False) -> tf.Tensor:
        """Quantizes an activation; its range lives in ``name`` of the current scope.

        Args:
            inputs: Any shape. Calls with the same name share one range, which covers all their tensors.
            name: Scope of the range.
            positive: Whether the range begins at 0 instead of -6, before any batch.
        """
        with tf1.variable_scope(name):
            scope, low, high = _range_variables((), 0.0 if positive else -START)
            if self._training and scope not in self._averages:
                self._averages[scope] = _Average.of(scope, low, high)
        return self._follow(inputs, _Range(scope, low, high, self._seen(scope)))

    def joined(self, inputs: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
        """Quantizes into the range of the quantized ``source``, extending it to cover both."""
        known = self._of_tensor[source.ref()]
        return self._follow(inputs, known._replace(seen=self._seen(known.scope)))

    def within(self, inputs: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
        """Quantizes values that cannot leave the range of the quantized ``source``, such as its mean."""
        return self._quantize(inputs, self._of_tensor[source.ref()])

    def same(self, inputs: tf.Tensor, source: tf.Tensor) -> tf.Tensor:
        """Returns ``inputs`` unchanged, noting that they hold only values of the quantized ``source``."""
        self._of_tensor[inputs.ref()] = self._of_tensor[source.ref()]
        return inputs

    def fixed(self, inputs: tf.Tensor, low: float, high: float) -> tf.Tensor:
        """Quantizes into a constant range."""
        ends = self._widen(tf.constant(low), tf.constant(high))
        return self._quantize(inputs, _Range("", *ends))

    def sigmoid(self, inputs: tf.Tensor) -> tf.Tensor:
        """Quantizes the output of a sigmoid; a range centered on zero leaves half of the levels unused."""
        if self._spec.qdq:
            return self.fixed(inputs, 0.0, 1.0)
        return self._quantize(inputs, _Range("", *map(tf.constant, _SIGMOID)))

    def collect_updates(self) -> None:
        """Adds the updates of the ranges to UPDATE_OPS, once the network is complete."""
        pairs = [pair for updates in self._updates.values() for pair in updates]
        for target, value in pairs:
            tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, tf1.assign(target, value))

    def _seen(self, scope: str) -> tuple[tf.Tensor, tf.Tensor] | None:
        average = self._averages.get(scope)
        return average.seen if average else None

    def _follow(self, inputs: tf.Tensor, known: _Range) -> tf.Tensor:
        if not self._training:
            if self._spec.symmetric:  # stored ranges may not be, if training quantized by a scale alone
                low, high = self._widen(known.low, known.high)
                known = known._replace(low=low, high=high)
            return self._quantize(inputs, known)
        values = tf.stop_gradient(tf.cast(inputs, tf.float32))
        low, high = self._widen(tf.reduce_min(values), tf.reduce_max(values))
        if known.seen is not None:
            low, high = tf.minimum(low, known.seen[0]), tf.maximum(high, known.seen[1])
        average = self._averages[known.scope] = self._averages[known.scope]._replace(seen=(low, high))
        ends, self._updates[known.scope] = average.after(low, high)
        return self._quantize(inputs, _Range(known.scope, *ends))

    def _widen(self, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Extends a range to contain 0, or to be symmetric."""
        if self._spec.symmetric:
            return tf.minimum(low, high / SYMMETRIC), tf.maximum(high, low * SYMMETRIC)
        return tf.minimum(low, 0.0), tf.maximum(high, 0.0)

    def _quantize(self, inputs: tf.Tensor, ends: _Range, *, narrow: bool = False) -> tf.Tensor:
        values = tf.cast(inputs, tf.float32)
        operation = scaled if self._spec.qdq else nudged
        quantized = operation(values, ends.low, ends.high, narrow=narrow, device=self._device)
        if self._active is not None:
            quantized = tf.where(self._active, quantized, values)
        if narrow:
            return quantized
        outputs = tf.cast(quantized, self._dtype)
        self._of_tensor[outputs.ref()] = ends
        return outputs

    def _after_delay(self) -> tf.Tensor:
        """Counts the steps in a variable, and returns whether ``delay`` of them are done."""
        with tf1.variable_scope(tf1.VariableScope(reuse=tf1.AUTO_REUSE, name="")):
            step = tf1.get_variable(
                STEP_NAME, (), tf.int64, tf1.zeros_initializer(), trainable=False, use_resource=True
            )
        done = step.read_value()
        self._updates[STEP_NAME] = [(step, done + 1)]
        return done >= self._spec.delay


class _Average(NamedTuple):
    """The moving average of both ends of a range, and the sums that correct its initial bias."""

    low: tf.Variable
    high: tf.Variable
    state: tuple[tf.Variable, tf.Variable, tf.Variable, tf.Variable]
    seen: tuple[tf.Tensor, tf.Tensor] | None = None

    @classmethod
    def of(cls, scope: str, low: tf.Variable, high: tf.Variable) -> _Average:
        names = [f"{scope}/{end}/{kind}" for end in ("min", "max") for kind in ("biased", "local_step")]
        state = [variable(name, (), tf1.zeros_initializer(), trainable=False) for name in names]
        return cls(low, high, tuple(state))

    def after(self, low: tf.Tensor, high: tf.Tensor) -> tuple[list[tf.Tensor], list[tuple[tf.Variable, tf.Tensor]]]:
        """Returns the ends after a batch with these extremes, and the new values of the variables."""
        biased, steps = self.state[0::2], self.state[1::2]
        former = tf.stack([v.read_value() for v in biased])
        done = tf.stack([v.read_value() for v in steps]) + 1.0
        sums = former - (former - tf.stack([low, high])) * (1.0 - DECAY)
        averages = sums / -tf.math.expm1(done * math.log(DECAY))
        ends = tf.unstack(averages)
        values = (*tf.unstack(sums), *tf.unstack(done), *ends)
        return ends, list(zip((*biased, *steps, self.low, self.high), values, strict=True))


def _range_variables(shape: tuple[int, ...], start: float) -> tuple[str, tf.Variable, tf.Variable]:
    """Returns the current scope and its variables ``min`` and ``max``."""
    low = variable("min", shape, tf1.constant_initializer(start), trainable=False)
    high = variable("max", shape, tf1.constant_initializer(START), trainable=False)
    return tf1.get_variable_scope().name, low, high


def _path(name: str, branch: str) -> str:
    return f"{name}/{branch}" if branch else name
