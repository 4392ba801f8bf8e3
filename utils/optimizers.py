"""The update of a training step for any optimizer, the weight-decay filter and loss scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

tf1 = tf.compat.v1

GradientsAndVariables = list[tuple[Any, Any]]
NOT_DECAYED = ("batchnorm", "batch_norm", "batch_normalization")
INITIAL_LOSS_SCALE = 2.0**15
GROWTH_INTERVAL = 2000
LOSS_SCALE_FACTOR = 2.0


def decayed(variables: Sequence[Any]) -> list[Any]:
    """The variables subject to weight decay: all but those of batch normalization.

    Kernels, grouped filters, and the kernels *and biases* of the classifier and of squeeze-and-excitation decay, as in
    the recipes of the published accuracies.
    """
    return [v for v in variables if not any(word in v.op.name.lower() for word in NOT_DECAYED)]


def l2_loss(variables: Sequence[Any], weight_decay: float) -> Any:
    """``weight_decay`` times half the squared norm of the decayed variables, a scalar to add to the loss."""
    terms = [tf.nn.l2_loss(v) for v in decayed(variables)]
    return weight_decay * tf.add_n(terms) if terms else tf.constant(0.0)


def every_variable_alike(name: str) -> float:
    """A learning-rate factor of 1 for every variable."""
    return 1.0


def trained(variables: Sequence[Any], multiplier: Callable[[str], float]) -> list[Any]:
    """The variables whose learning-rate factor is not 0."""
    return [v for v in variables if multiplier(v.op.name) > 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The operation and tensors of one update.

    Attributes:
        operation: Applies the gradients and advances the step, unless a gradient overflowed under dynamic scaling.
        loss_scale: Scalar, the loss scale of this step's gradients.
        finite: Boolean scalar, true if all gradients are finite; always true without dynamic scaling.
        gradients: The applied gradients by variable name: averaged over replicas, with the loss scale divided out.
    """

    operation: Any
    loss_scale: Any
    finite: Any
    gradients: Mapping[str, Any]


def build_update(
    loss: Any,
    step: Any,
    learning_rate: Any,
    *,
    make_optimizer: Callable[[Any], Any],
    loss_scale: LossScale,
    average: Callable[[GradientsAndVariables], GradientsAndVariables] = list,
    multiplier: Callable[[str], float] = every_variable_alike,
) -> Update:
    """Builds one optimizer step, with gradients of a scaled loss.

    Args:
        loss: Scalar, float32.
        step: The global step variable.
        learning_rate: Scalar tensor.
        make_optimizer: Builds an optimizer of ``tf.compat.v1`` from a learning rate.
        loss_scale: Scale of the loss before differentiation.
        average: Averages gradients over replicas. It runs on scaled gradients, which survive transfer in a narrower
            type, and before the check for finite values, so that all replicas skip a step together.
        multiplier: Learning-rate factor by variable name. It affects only the update, not the slots. A variable with
            factor 0 is not trained and gets no slots.

    Returns:
        The update, which depends on the graph's UPDATE_OPS, so it includes the batch statistics.
    """
    descent = _Descent(learning_rate, make_optimizer, multiplier)
    scale = loss_scale.value()
    scaled = loss if scale is None else loss * scale
    pairs = descent.compute_gradients(scaled, trained(tf1.trainable_variables(), multiplier))
    pairs = [(g, v) for g, v in pairs if g is not None]
    pairs = average(pairs)
    if scale is not None:
        pairs = [(g * (1.0 / scale), v) for g, v in pairs]
    gradients = {v.op.name: g for g, v in pairs}
    with tf.control_dependencies(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)):
        if not loss_scale.dynamic:
            done, fixed, finite = descent.apply_gradients(pairs, step), _constant(scale), tf.constant(True)
            return Update(operation=done, loss_scale=fixed, finite=finite, gradients=gradients)
        descent.create_slots(pairs)  # in the main graph, not inside the conditional
        finite = tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(g)) for g, _ in pairs]))
        used = tf.identity(scale)
        with tf.control_dependencies([used]):
            rescale = loss_scale.update(finite)
            apply = tf.cond(
                finite,
                lambda: _as_true(descent.apply_gradients(pairs, step)),
                lambda: tf.constant(False),
            )
        return Update(operation=tf.group(apply, rescale), loss_scale=used, finite=finite, gradients=gradients)


class _Descent:
    """Gradient descent with learning-rate factors for variables: one optimizer for each factor.

    The optimizers share state that belongs to no variable, like the powers of Adam's betas. It has one name in
    checkpoints whatever the factors, and the last optimizer advances it once per step. TensorFlow 2.21 has no public
    function to share it.
    """

    def __init__(
        self, learning_rate: Any, make_optimizer: Callable[[Any], Any], multiplier: Callable[[str], float]
    ) -> None:
        self._rate = learning_rate
        self._make = make_optimizer
        self._multiplier = multiplier
        self._optimizers: dict[float, Any] = {}

    def compute_gradients(self, loss: Any, variables: Sequence[Any]) -> GradientsAndVariables:
        gate = tf1.train.Optimizer.GATE_OP
        pairs: GradientsAndVariables = self._optimizer(1.0).compute_gradients(
            loss, var_list=variables, gate_gradients=gate
        )
        return pairs

    def create_slots(self, pairs: GradientsAndVariables) -> None:
        for factor, group in self._groups(pairs).items():
            self._optimizer(factor)._create_slots([v for _, v in group])

    def apply_gradients(self, pairs: GradientsAndVariables, step: Any) -> Any:
        """Updates all variables, then the step."""
        *others, (factor, last) = self._groups(pairs).items()
        done = []
        for other, group in others:
            optimizer = self._optimizer(other)
            optimizer._finish = _group  # leaves the shared state as it is
            done.append(optimizer.apply_gradients(group))
        with tf.control_dependencies(done):
            return self._optimizer(factor).apply_gradients(last, global_step=step)

    def _groups(self, pairs: GradientsAndVariables) -> dict[float, GradientsAndVariables]:
        groups: dict[float, GradientsAndVariables] = {}
        for gradient, variable in pairs:
            groups.setdefault(self._multiplier(variable.op.name), []).append((gradient, variable))
        return groups

    def _optimizer(self, factor: float) -> Any:
        if factor not in self._optimizers:
            rate = self._rate if factor == 1.0 else self._rate * factor
            optimizer = self._make(rate)
            for other in self._optimizers.values():
                optimizer._non_slot_dict = other._non_slot_dict
            self._optimizers[factor] = optimizer
        return self._optimizers[factor]


def _group(operations: Sequence[Any], name: str) -> Any:
    return tf.group(*operations, name=name)


def _constant(scale: Any) -> Any:
    return tf.constant(1.0) if scale is None else scale


def _as_true(operation: Any) -> Any:
    with tf.control_dependencies([operation]):
        return tf.constant(True)


class LossScale:
    """A static loss scale, a dynamic one, or none.

    The dynamic scale starts at 2^15, doubles after 2,000 finite steps in a row and halves on overflow, not below 1.

    Source: Micikevicius et al., Mixed Precision Training, arXiv:1710.03740.
    """

    def __init__(self, static: float | None = None, *, dynamic: bool = False) -> None:
        self.dynamic = dynamic
        self._static = static
        if dynamic:
            self._scale = self._state("loss_scale", INITIAL_LOSS_SCALE, tf.float32)
            self._good_steps = self._state("loss_scale_good_steps", 0, tf.int64)

    @staticmethod
    def _state(name: str, value: float, dtype: Any) -> Any:
        return tf1.get_variable(
            name, shape=(), dtype=dtype, initializer=tf1.constant_initializer(value), trainable=False, use_resource=True
        )

    def value(self) -> Any:
        """The scale as a scalar tensor, or None if losses are not scaled."""
        if self.dynamic:
            return self._scale.read_value()
        return None if self._static is None else tf.constant(self._static, tf.float32)

    def update(self, finite: Any) -> Any:
        """An operation that adapts the dynamic scale, given whether a step's gradients were finite."""
        good = self._good_steps.read_value() + 1
        grow = good >= GROWTH_INTERVAL
        scale = self._scale.read_value()
        grown = tf.where(grow, scale * LOSS_SCALE_FACTOR, scale)
        shrunk = tf.maximum(scale / LOSS_SCALE_FACTOR, 1.0)
        new_good = tf.where(tf.logical_and(finite, tf.logical_not(grow)), good, tf.zeros_like(good))
        with tf.control_dependencies([grown, shrunk, new_good]):
            return tf.group(self._scale.assign(tf.where(finite, grown, shrunk)), self._good_steps.assign(new_good))
