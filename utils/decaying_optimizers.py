"""Optimizers whose update itself decays the weights: AdamW, LAMB and LARS.

Only resource variables and dense gradients. The slots get the optimizer's name, as those of TensorFlow's optimizers.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from utils.optimizer_settings import OptimizerSettings

tf1 = tf.compat.v1
_Adam: Any = tf1.train.AdamOptimizer
_Momentum: Any = tf1.train.MomentumOptimizer

LARS_TRUST = 0.001


class AdamW(_Adam):  # type: ignore[misc]
    """Adam with decoupled weight decay: w <- w - rate * (decay * w + m' / (sqrt(v') + epsilon)).

    m' and v' are the bias-corrected means of gradients and squares. Differs from TensorFlow's Adam: epsilon is added to
    the corrected root, as in the paper.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, algorithm 2.
    """

    def __init__(self, learning_rate: Any, settings: OptimizerSettings, name: str = "AdamW") -> None:
        super().__init__(
            learning_rate, beta1=settings.momentum, beta2=settings.beta2, epsilon=settings.epsilon, name=name
        )
        self._settings = settings

    def _resource_apply_dense(self, grad: Any, var: Any) -> Any:
        power1, power2 = self._get_beta_accumulators()
        with tf.control_dependencies([grad, *self._decayed(grad, var)]):
            return tf.raw_ops.ResourceApplyAdam(
                var=var.handle,
                m=self.get_slot(var, "m").handle,
                v=self.get_slot(var, "v").handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=self._lr_t,
                beta1=self._beta1_t,
                beta2=self._beta2_t,
                epsilon=self._epsilon_t * tf.sqrt(1.0 - power2),  # the operation adds it to the uncorrected root
                grad=grad,
            )

    def _decayed(self, grad: Any, var: Any) -> list[Any]:
        """The operation that decays the weight, if it decays."""
        if not _decays(var, self._settings):
            return []
        with tf.control_dependencies([grad]):
            share = self._lr_t * self._settings.weight_decay
            return [var.assign_sub(share * var.read_value(), read_value=False)]


class Lamb(AdamW):
    """Layer-wise adaptive moments: the step of AdamW, scaled by ||w|| / ||step|| for each variable that decays.

    The factor is 1 where either norm is 0.

    Source: You et al., Large Batch Optimization for Deep Learning, arXiv:1904.00962, algorithm 2. Differs from the
    paper: no bound on ||w||, and variables that do not decay are not scaled.
    """

    def __init__(self, learning_rate: Any, settings: OptimizerSettings) -> None:
        super().__init__(learning_rate, settings, name="LAMB")

    def _resource_apply_dense(self, grad: Any, var: Any) -> Any:
        settings, rate = self._settings, self._lr_t
        means, squares = self.get_slot(var, "m"), self.get_slot(var, "v")
        mean = self._beta1_t * means.read_value() + (1.0 - self._beta1_t) * grad
        square = self._beta2_t * squares.read_value() + (1.0 - self._beta2_t) * tf.square(grad)
        power1, power2 = self._get_beta_accumulators()
        change = mean / (1.0 - power1) / (tf.sqrt(square / (1.0 - power2)) + self._epsilon_t)
        if _decays(var, settings):
            weight = var.read_value()
            change += settings.weight_decay * weight
            length = tf.norm(change)
            rate *= _or_one(tf.norm(weight), length, length)
        return tf.group(
            var.assign_sub(rate * change, read_value=False),
            means.assign(mean, read_value=False),
            squares.assign(square, read_value=False),
        )


class Lars(_Momentum):  # type: ignore[misc]
    """Momentum of gradients with decay, scaled by 0.001 ||w|| / (||g|| + decay ||w||) for each variable that decays.

    The factor is 1 where either norm is 0. It scales what enters the momentum; the learning rate scales what leaves it.

    Source: You et al., Large Batch Training of Convolutional Networks, arXiv:1708.03888. Differs from the paper: the
    learning rate is outside of the momentum, so that a change of the rate acts at once.
    """

    def __init__(self, learning_rate: Any, settings: OptimizerSettings) -> None:
        super().__init__(learning_rate, settings.momentum, name="LARS")
        self._settings = settings

    def _resource_apply_dense(self, grad: Any, var: Any) -> Any:
        settings = self._settings
        if _decays(var, settings):
            weight = var.read_value()
            size, steepness = tf.norm(weight), tf.norm(grad)
            divisor = steepness + settings.weight_decay * size + settings.epsilon
            trust = _or_one(LARS_TRUST * size, steepness, divisor)
            grad = (grad + settings.weight_decay * weight) * trust
        return super()._resource_apply_dense(grad, var)


def _decays(variable: Any, settings: OptimizerSettings) -> bool:
    return settings.weight_decay > 0 and variable.op.name in settings.decayed


def _or_one(size: Any, length: Any, divisor: Any) -> Any:
    """``size / divisor``, or 1 where size or length is 0."""
    positive = (size > 0) & (length > 0)
    return tf.where(positive, size / tf.where(positive, divisor, 1.0), 1.0)
