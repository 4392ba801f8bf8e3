"""The update of a training step for any optimizer, the weight-decay filter and loss scaling."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from utils.optimizer_config import OptimizerConfig
from utils.optimizer_settings import OptimizerSettings
from utils.optimizer_table import OPTIMIZERS, OptimizerSpec
from utils.state_updates import update_state
from utils.unit_clipping import with_units_clipped
from utils.vectors import assign_together, is_small, joined, parts, read_together

tf1 = tf.compat.v1

GradientsAndVariables = list[tuple[Any, Any]]
Average = Callable[[GradientsAndVariables], GradientsAndVariables]
NOT_DECAYED = ("batchnorm", "batch_norm", "batch_normalization")
INITIAL_LOSS_SCALE = 2.0**15
GROWTH_INTERVAL = 2000
LOSS_SCALE_FACTOR = 2.0


def decayed(variables: Sequence[Any], *, biases: bool = True) -> list[Any]:
    """The variables subject to weight decay: all but those of batch normalization.

    Kernels, grouped filters, and the kernels *and biases* of the classifier and of squeeze-and-excitation decay, as in
    the recipes of the published accuracies. Without ``biases``, those do not.
    """
    found = [v for v in variables if not any(word in v.op.name.lower() for word in NOT_DECAYED)]
    return found if biases else [v for v in found if v.op.name.rpartition("/")[2] != "bias"]


class WeightDecay:
    """``factor`` times half the squared norm of the decayed ones of some variables, added to the loss."""

    def __init__(self, variables: Sequence[Any], factor: float, *, biases: bool = True) -> None:
        self.variables = decayed(variables, biases=biases)
        self.factor = factor

    def loss(self) -> Any:
        """The term of the loss, a scalar."""
        terms = [tf.nn.l2_loss(v) for v in self.variables]
        return self.factor * tf.add_n(terms) if terms else tf.constant(0.0)


def settings_of(config: OptimizerConfig, decay: WeightDecay, unit_clipped: Collection[str] = ()) -> OptimizerSettings:
    """The settings of the configured optimizer; what is not given has the default of its row.

    ``unit_clipped`` names the variables for adaptive clipping, if that is configured.
    """
    spec = OPTIMIZERS[config.name]
    usual = OptimizerSettings()
    return OptimizerSettings(
        momentum=config.momentum,
        beta2=next(value for value in (config.beta2, spec.beta2, usual.beta2) if value is not None),
        epsilon=next(value for value in (config.epsilon, spec.epsilon, usual.epsilon) if value is not None),
        weight_decay=decay.factor if spec.decays else 0.0,
        decayed=frozenset(v.op.name for v in decay.variables) if spec.decays else frozenset(),
        clip_norm=config.clip_norm or spec.clip_norm,
        unit_clipped=frozenset(unit_clipped if config.adaptive_clip else ()),
    )


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
        operation: Applies the gradients, updates the network's own state and advances the step, unless a gradient
            overflowed under dynamic scaling.
        loss_scale: Scalar, the loss scale of this step's gradients.
        finite: Boolean scalar, true if all gradients are finite; always true without dynamic scaling.
        l2_loss: Scalar, the loss of weight decay.
        gradients: The applied gradients by variable name: averaged over replicas, with the loss scale divided out,
            clipped.
    """

    operation: Any
    loss_scale: Any
    finite: Any
    l2_loss: Any
    gradients: Mapping[str, Any]


def build_update(
    loss: Any,
    step: Any,
    descent: Descent,
    *,
    loss_scale: LossScale,
    decay: WeightDecay | None = None,
    average: Average = list,
    grouped: bool = False,
) -> Update:
    """Builds one optimizer step, with gradients of a scaled loss.

    Args:
        loss: Scalar, float32, without weight decay.
        step: The global step.
        descent: The optimizer.
        loss_scale: Scale of the loss before differentiation.
        decay: Weight decay as a term of the loss; not used if the optimizer decays weights itself.
        average: Averages gradients over replicas. It runs on scaled gradients, which survive transfer in a narrower
            type, and before the check for finite values, so that all replicas skip a step together.
        grouped: Compute with all gradients as a few vectors, and update small variables together. The new weights are
            the same bit for bit in one process without clipping; other sums round differently.

    Returns:
        The update, with the updates of the network's own state, such as batch statistics.
    """
    scale, make = loss_scale.value(), _grouped_gradients if grouped else _single_gradients
    decay = WeightDecay([], 0.0) if decay is None or descent.decays else decay
    l2_loss, gradients = make(loss, descent, decay, scale, average)
    if scale is not None:
        gradients = gradients.times(1.0 / scale)
    if descent.clip_norm is not None:
        gradients = gradients.clipped(descent.clip_norm)
    pairs = with_units_clipped(gradients.pairs(), descent.unit_clipped)
    descent.create_slots(pairs)  # in the main graph, not inside the conditional

    def apply() -> Any:
        with tf.control_dependencies([update_state(grouped=grouped)]):
            return descent.apply_gradients(pairs, step, grouped=grouped)

    applied = {v.op.name: g for g, v in pairs}
    if not loss_scale.dynamic:
        used = tf.constant(1.0) if scale is None else scale
        return Update(operation=apply(), loss_scale=used, finite=tf.constant(True), l2_loss=l2_loss, gradients=applied)
    finite, used = gradients.finite(), tf.identity(scale)
    with tf.control_dependencies([used]):
        rescale = loss_scale.update(finite)
        done = tf.cond(finite, lambda: _as_true(apply()), lambda: tf.constant(False))
    operation = tf.group(done, rescale)
    return Update(operation=operation, loss_scale=used, finite=finite, l2_loss=l2_loss, gradients=applied)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gradients:
    """Gradients as tensors: one for each variable, in its shape, or with ``joined`` vectors for several variables."""

    tensors: Sequence[Any]
    variables: Sequence[Sequence[Any]]
    joined: bool

    def times(self, factor: Any) -> _Gradients:
        return replace(self, tensors=[tensor * factor for tensor in self.tensors])

    def clipped(self, limit: float) -> _Gradients:
        """The gradients, scaled so that the norm of all together is at most ``limit``.

        Source: Pascanu et al., On the difficulty of training Recurrent Neural Networks, arXiv:1211.5063.
        """
        halves = tf.stack([tf.nn.l2_loss(tensor) for tensor in self.tensors])
        norm = tf.sqrt(2.0 * tf.reduce_sum(halves))  # unlike add_n, always in this order
        return self.times(limit / tf.maximum(norm, limit))

    def finite(self) -> Any:
        """A boolean scalar, true if all values are finite."""
        return tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(tensor)) for tensor in self.tensors]))

    def pairs(self) -> GradientsAndVariables:
        """The gradient of each variable in its shape."""
        pairs: GradientsAndVariables = []
        for tensor, variables in zip(self.tensors, self.variables, strict=True):
            pairs += zip(parts(tensor, variables) if self.joined else [tensor], variables, strict=True)
        return pairs


def _single_gradients(
    loss: Any, descent: Descent, decay: WeightDecay, scale: Any, average: Average
) -> tuple[Any, _Gradients]:
    """The loss of weight decay, and the gradients, each a tensor of its own."""
    l2_loss = decay.loss()
    total = loss + l2_loss
    pairs = average(descent.compute_gradients(total if scale is None else total * scale))
    return l2_loss, _Gradients(tensors=[g for g, _ in pairs], variables=[[v] for _, v in pairs], joined=False)


def _grouped_gradients(
    loss: Any, descent: Descent, decay: WeightDecay, scale: Any, average: Average
) -> tuple[Any, _Gradients]:
    """Like ``_single_gradients``, with a vector for the decayed variables and one for the others."""
    pairs = average(descent.compute_gradients(loss if scale is None else loss * scale))
    known = {v.op.name: g for g, v in pairs}
    l2_loss, groups = tf.constant(0.0), []
    if decay.variables:
        vector = joined([known[v.op.name] if v.op.name in known else tf.zeros(v.shape) for v in decay.variables])
        with tf.control_dependencies([vector]):  # the copy of the weights takes no memory before
            weights = read_together(decay.variables)
        l2_loss = decay.factor * tf.nn.l2_loss(weights)
        groups.append((vector + weights * (decay.factor if scale is None else scale * decay.factor), decay.variables))
    names = {v.op.name for v in decay.variables}
    others = [(g, v) for g, v in pairs if v.op.name not in names]
    if others:
        groups.append((joined([g for g, _ in others]), [v for _, v in others]))
    return l2_loss, _Gradients(tensors=[g for g, _ in groups], variables=[v for _, v in groups], joined=True)


class Descent:
    """Gradient descent with learning-rate factors for variables: one optimizer for each factor.

    The optimizers share state that belongs to no variable, like the powers of Adam's betas. It has one name in
    checkpoints whatever the factors, and the last optimizer advances it once per step. TensorFlow 2.21 has no public
    function to share it.

    Args:
        learning_rate: Scalar tensor.
        optimizer: The kind of optimizer.
        settings: Its momentum and other numbers.
        multiplier: Learning-rate factor by variable name. It affects only the update, not the slots. A variable with
            factor 0 is not trained and gets no slots.
    """

    def __init__(
        self,
        learning_rate: Any,
        optimizer: OptimizerSpec,
        settings: OptimizerSettings,
        multiplier: Callable[[str], float] = every_variable_alike,
    ) -> None:
        self._learning_rate = learning_rate
        self._spec = optimizer
        self._settings = settings
        self.clip_norm = settings.clip_norm
        self.unit_clipped = settings.unit_clipped
        self.decays = optimizer.decays
        self._multiplier = multiplier
        self._optimizers: dict[float, Any] = {}

    def compute_gradients(self, loss: Any) -> GradientsAndVariables:
        """Differentiates the loss, and sums the gradients of a tensor with several consumers in pairs.

        TensorFlow's sum of three or more tensors (AddN, 2.21) begins with any whose memory is free by then, so that its
        last bit depends on timing. A sum of two does not.
        """
        pairs: GradientsAndVariables = self._optimizer(1.0).compute_gradients(
            loss,
            var_list=trained(tf1.trainable_variables(), self._multiplier),
            gate_gradients=tf1.train.Optimizer.GATE_OP,
            aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE,
        )
        return [(gradient, variable) for gradient, variable in pairs if gradient is not None]

    def create_slots(self, pairs: GradientsAndVariables) -> None:
        for factor, group in self._groups(pairs).items():
            self._optimizer(factor)._create_slots([v for _, v in group])

    def apply_gradients(self, pairs: GradientsAndVariables, step: Any, *, grouped: bool) -> Any:
        """Updates all variables, then the step; call ``create_slots`` before."""
        together: GradientsAndVariables = []
        alone: GradientsAndVariables = []
        for gradient, variable in pairs:
            joins = grouped and self._spec.step is not None and is_small(variable)
            (together if joins else alone).append((gradient, variable))
        done = [self._apply_together(factor, group) for factor, group in self._groups(together).items()]
        groups = list(self._groups(alone).items())
        for factor, group in groups[:-1]:
            optimizer = self._optimizer(factor)
            optimizer._finish = _group  # leaves the shared state as it is
            done.append(optimizer.apply_gradients(group))
        with tf.control_dependencies(done):
            if not groups:
                return step.assign_add(1, read_value=False)
            factor, last = groups[-1]
            return self._optimizer(factor).apply_gradients(last, global_step=step)

    def _apply_together(self, factor: float, group: GradientsAndVariables) -> Any:
        """Updates variables of one factor as vectors, with results equal to those of the optimizer bit for bit."""
        gradients, variables = zip(*group, strict=True)
        optimizer, step = self._optimizer(factor), self._spec.step
        if step is None:
            raise ValueError(f"{self._spec.name} updates each variable alone")
        slots = [[optimizer.get_slot(v, name) for v in variables] for name in optimizer.get_slot_names()]
        weights, former = read_together(variables), [read_together(slot) for slot in slots]
        weights, moved = step(self._rate(factor), self._settings.momentum, joined(gradients), weights, former)
        done = [assign_together(slot, vector) for slot, vector in zip(slots, moved, strict=True)]
        return tf.group(assign_together(variables, weights), *done)

    def _groups(self, pairs: GradientsAndVariables) -> dict[float, GradientsAndVariables]:
        groups: dict[float, GradientsAndVariables] = {}
        for gradient, variable in pairs:
            groups.setdefault(self._multiplier(variable.op.name), []).append((gradient, variable))
        return groups

    def _rate(self, factor: float) -> Any:
        return self._learning_rate if factor == 1.0 else self._learning_rate * factor

    def _optimizer(self, factor: float) -> Any:
        if factor not in self._optimizers:
            optimizer = self._spec.build(self._rate(factor), self._settings)
            for other in self._optimizers.values():
                optimizer._non_slot_dict = other._non_slot_dict
            self._optimizers[factor] = optimizer
        return self._optimizers[factor]


def _group(operations: Sequence[Any], name: str) -> Any:
    return tf.group(*operations, name=name)


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
