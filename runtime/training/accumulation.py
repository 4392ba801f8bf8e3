"""Gradients of a large batch, computed from one part of it after another, in the memory of a part.

Shape symbols: N batch, M part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from runtime.task import Task, TensorMap

tf1 = tf.compat.v1


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A batch in parts of equal size.

    Attributes:
        images: [N, H, W, C], ready for the network.
        targets: Targets of N rows each.
        mask: [N], 1 for examples that count.
        count: Number of parts.
    """

    images: Any
    targets: TensorMap
    mask: Any
    count: int

    def part(self, index: Any) -> tuple[Any, TensorMap, Any]:
        """Images, targets and mask of a part, M rows each."""
        if self.count == 1:
            return self.images, self.targets, self.mask
        size = self.images.shape[0] // self.count

        def rows(tensor: Any) -> Any:
            taken = tensor[index * size : (index + 1) * size]
            return tf.ensure_shape(taken, [size, *tensor.shape[1:]])

        return rows(self.images), {name: rows(target) for name, target in self.targets.items()}, rows(self.mask)


def accumulate(
    task: Task, parts: Parts, first: TensorMap, variables: Sequence[Any], scale: Callable[[], Any]
) -> tuple[TensorMap, Any]:
    """Runs a network forward and backward over the parts of a batch, and sums losses and gradients.

    The state that follows a batch, such as batch-norm statistics, follows the mean over the parts, once per step.

    Args:
        task: The task; its network exists already in the current graph, for the first part.
        parts: The batch.
        first: The losses of the first part; those of the batch if that is its only one.
        variables: The variables to differentiate by.
        scale: Returns the loss scale, a scalar, or None. Gradients are summed while they are scaled.

    Returns:
        The losses of the batch by name, and their sum, whose gradients with respect to the variables are the
        accumulated ones.
    """
    if parts.count == 1:
        return first, tf.add_n([*first.values()])
    factor = scale()
    factor = tf.constant(1.0) if factor is None else factor
    followed = _taken_updates()
    whole = task.training.normalizer(parts.targets, parts.mask)

    def body(index: Any, *sums: Any) -> tuple[Any, ...]:
        found = _gradients_of_part(task, parts.part(index), whole, variables, factor)
        found[-1] = [value / parts.count for value in found[-1]]
        return index + 1, *(
            [old + new for old, new in zip(*both, strict=True)] for both in zip(sums, found, strict=True)
        )

    values = [value for _, value, _ in followed]
    zeros = [[tf.zeros(t.shape, t.dtype.base_dtype) for t in kind] for kind in (first.values(), variables, values)]
    _, sums, gradients, states = tf.while_loop(
        lambda index, *_: index < parts.count, body, (tf.constant(0), *zeros), parallel_iterations=1
    )
    for (variable, _, share), value in zip(followed, states, strict=True):
        tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, (variable, value, share))
    losses = {name: tf.stop_gradient(loss) for name, loss in zip(first, sums, strict=True)}
    total = tf.add_n([*losses.values()])
    return losses, _with_gradients(total, variables, [gradient / factor for gradient in gradients])


def _gradients_of_part(
    task: Task, part: tuple[Any, TensorMap, Any], normalizer: Any, variables: Sequence[Any], factor: Any
) -> list[list[Any]]:
    """The losses of a part, the gradients of its scaled loss, and the values that state follows."""
    images, targets, mask = part
    with tf1.variable_scope(tf1.get_variable_scope(), reuse=True):
        losses = task.training.losses(task.training.forward(images, targets), targets, mask, normalizer)
    gradients = tf.gradients(
        tf.add_n([*losses.values()]) * factor,
        variables,
        gate_gradients=True,
        aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [[*losses.values()], gradients, [value for _, value, _ in _taken_updates()]]


def _taken_updates() -> list[tuple[Any, Any, float]]:
    """The pending updates of state, which are no longer pending; the body of a loop shares them with its graph."""
    pending = tf1.get_collection_ref(tf1.GraphKeys.UPDATE_OPS)
    taken = list(pending)
    pending.clear()
    return taken


def _with_gradients(value: Any, variables: Sequence[Any], gradients: Sequence[Any]) -> Any:
    """A scalar with these gradients with respect to the variables."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def known(total: Any, *weights: Any) -> Any:
        del weights

        def differentiate(upstream: Any) -> list[Any]:
            return [tf.zeros_like(upstream), *(gradient * upstream for gradient in gradients)]

        return tf.identity(total), differentiate

    return known(value, *(variable.read_value() for variable in variables))
