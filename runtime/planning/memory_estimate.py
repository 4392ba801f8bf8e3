"""Estimate of the memory that a graph needs, from the static shapes of its tensors.

Nothing runs: the operations of one step are walked in the order in which they were built. A tensor occupies memory from
the operation that makes it to the last one that reads it, so the peak of the sum is what one step needs: activations
that wait for their gradients, and gradients that wait for the update.

Left out: scratch memory of kernels, copies in the layouts that kernels prefer, and what the allocator holds back.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ALIASES = frozenset(
    {"Identity", "ReadVariableOp", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient", "IdentityN"}
)
"""Operations whose outputs share the memory of their inputs."""
IN_PLACE = frozenset(
    {"Add", "AddV2", "AddN", "BiasAdd", "Mul", "Sub", "RealDiv", "Relu", "Relu6", "ReluGrad", "Relu6Grad", "Sigmoid"}
)
"""Operations that write into an input of the same size that no other operation reads any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphMemory:
    """Bytes that a graph needs.

    Attributes:
        variables: All variables: weights, statistics, the optimizer's slots, moving averages.
        step: The peak of the tensors of one step.
    """

    variables: int
    step: int


def graph_memory(variables: Iterable[Any], fetches: Mapping[str, Any]) -> GraphMemory:
    """Estimates the memory of a graph.

    Args:
        variables: Its variables.
        fetches: The tensors that one step computes; all are of one graph.
    """
    held = sum(math.prod(variable.shape.as_list()) * variable.dtype.size for variable in variables)
    roots = [tensor.op for tensor in fetches.values()]
    needed = _needed(roots)
    operations = [operation for operation in roots[0].graph.get_operations() if operation in needed]
    return GraphMemory(variables=held, step=_peak(operations))


def _needed(roots: Iterable[Any]) -> set[Any]:
    """The operations that must run for ``roots``."""
    needed: set[Any] = set()
    waiting = list(roots)
    while waiting:
        operation = waiting.pop()
        if operation not in needed:
            needed.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return needed


def _peak(operations: Sequence[Any]) -> int:
    """The largest sum of the tensors that are alive at once, if the operations run in this order."""
    owners: dict[Any, Any] = {}  # a tensor's memory is its own, or that of the tensor named here
    sizes: dict[Any, int] = {}
    last_uses: dict[Any, int] = {}
    made: defaultdict[int, int] = defaultdict(int)
    for number, operation in enumerate(operations):
        read = [owners.get(tensor.ref(), tensor.ref()) for tensor in operation.inputs]
        last_uses |= dict.fromkeys(read, number)
        for tensor in operation.outputs:
            key = tensor.ref()
            owners[key] = read[0] if operation.type in ALIASES and read else key
            if owners[key] == key:
                sizes[key], last_uses[key] = _bytes(tensor), number
                made[number] += sizes[key]
    freed: defaultdict[int, list[int]] = defaultdict(list)
    for key, number in last_uses.items():
        freed[number].append(sizes.get(key, 0))
    alive = peak = 0
    for number, operation in enumerate(operations):
        in_place = operation.type in IN_PLACE and made[number] in freed[number]
        alive += made[number]
        peak = max(peak, alive - made[number] if in_place else alive)
        alive -= sum(freed[number])
    return peak


def _bytes(tensor: Any) -> int:
    """The size of a tensor; sides that are not known count as 1, and handles of resources as nothing."""
    if tensor.shape.rank is None:
        return 0
    size: int = math.prod(side or 1 for side in tensor.shape) * tensor.dtype.size
    return size
