"""Audit of a graph for a GPU: the nodes without a GPU kernel, and the copies from the GPU to the host in one step.

Nodes are placed as TensorFlow's placer does on a machine with one GPU and soft placement: on the GPU if a kernel serves
their types, unless the CPU's has the higher priority; all nodes that touch one resource go together. Conditionals count
with both branches, as they run: lowered to switches and merges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import node_def_pb2, types_pb2
from tensorflow.python.framework import function_def_to_graph

from tests.gpu.kernels import Kernel, KernelTable, op_def, types_of

_CONDITIONALS = ("If", "StatelessIf")
_LOOPS = ("While", "StatelessWhile")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The placement of one step.

    Attributes:
        nodes: Number of nodes.
        without_kernel: For each operation and its types that has no GPU kernel, the names of its nodes.
        copies: Tensors that the step itself copies to the host: "producer:port" with the operations that need it there.
        fetched: Number of fetched tensors in the GPU's memory.
        operations: Number of nodes on the GPU by operation.
    """

    nodes: int
    without_kernel: Mapping[str, tuple[str, ...]]
    copies: Mapping[str, tuple[str, ...]]
    fetched: int
    operations: Counter[str]


def audit(graph: tf.Graph, fetches: Any, table: KernelTable) -> Audit:
    """Audits what one ``session.run(fetches)`` executes."""
    tensors = tf.nest.flatten(fetches)
    nodes = _executed(graph, tensors)
    kernels = _place(nodes, table)
    without: dict[str, list[str]] = {}
    for name, node in nodes.items():
        if not _is_bound_to_cpu(node) and table.on_gpu(node) is None:
            without.setdefault(_described(node), []).append(name)
    on_host = {tensor: not _on_gpu(*_split(tensor), nodes, kernels) for tensor in _consumed(nodes)}
    copies: dict[str, set[str]] = {}
    for name, node in nodes.items():
        for tensor, needs_host in zip(_inputs(node), _inputs_on_host(node, kernels[name]), strict=True):
            if needs_host and not on_host[tensor]:
                copies.setdefault(tensor, set()).add(node.op)
    return Audit(
        nodes=len(nodes),
        without_kernel={kind: tuple(names) for kind, names in without.items()},
        copies={tensor: tuple(sorted(consumers)) for tensor, consumers in copies.items()},
        fetched=sum(_on_gpu(*_split(t.name), nodes, kernels) for t in tensors if isinstance(t, tf.Tensor)),
        operations=Counter(node.op for name, node in nodes.items() if kernels[name] is not None),
    )


def operations(graph: tf.Graph, fetches: Any) -> set[str]:
    """Returns the types of operation that one ``session.run(fetches)`` executes."""
    return {node.op for node in _executed(graph, tf.nest.flatten(fetches)).values() if not _is_bound_to_cpu(node)}


def _executed(graph: tf.Graph, fetched: Iterable[Any]) -> dict[str, Any]:
    return _lowered(graph.as_graph_def(), {f.name if isinstance(f, tf.Operation) else f.op.name for f in fetched})


def _place(nodes: Mapping[str, Any], table: KernelTable) -> dict[str, Kernel | None]:
    """The GPU kernel of each node, or None for those on the CPU."""
    kernels = {name: None if _is_bound_to_cpu(node) else table.choose(node) for name, node in nodes.items()}
    groups = _Groups()
    for name, node in nodes.items():
        for tensor in _inputs(node):
            producer, port = _split(tensor)
            if producer in nodes and _output_types(nodes[producer])[port] == types_pb2.DT_RESOURCE:
                groups.join(name, producer)
    on_cpu = {groups.of(name) for name, kernel in kernels.items() if kernel is None}
    return {name: None if groups.of(name) in on_cpu else kernel for name, kernel in kernels.items()}


class _Groups:
    """Sets of nodes that share a device."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def of(self, name: str) -> str:
        while (parent := self._parent.get(name, name)) != name:
            name = parent
        return name

    def join(self, first: str, second: str) -> None:
        self._parent[self.of(first)] = self.of(second)


def _is_bound_to_cpu(node: Any) -> bool:
    return tf.DeviceSpec.from_string(node.device).device_type == "CPU"


def _described(node: Any) -> str:
    names = [a.name for a in op_def(node.op).attr if a.type in ("type", "list(type)")]
    types = sorted({types_pb2.DataType.Name(t)[3:].lower() for name in names for t in types_of(node, name)})
    return f"{node.op}({', '.join(types)})"


def _consumed(nodes: Mapping[str, Any]) -> set[str]:
    return {tensor for node in nodes.values() for tensor in _inputs(node)}


def _on_gpu(producer: str, port: int, nodes: Mapping[str, Any], kernels: Mapping[str, Kernel | None]) -> bool:
    node, kernel = nodes[producer], kernels[producer]
    return kernel is not None and not list(_in_host_memory(node, op_def(node.op).output_arg, kernel))[port]


def _inputs_on_host(node: Any, kernel: Kernel | None) -> list[bool]:
    if kernel is None:
        return [True] * len(_inputs(node))
    return list(_in_host_memory(node, op_def(node.op).input_arg, kernel))


def _in_host_memory(node: Any, arguments: Iterable[Any], kernel: Kernel) -> Iterator[bool]:
    for argument in arguments:
        yield from [argument.name in kernel.host] * len(_types(node, argument))


def _output_types(node: Any) -> list[int]:
    return [t for argument in op_def(node.op).output_arg for t in _types(node, argument)]


def _types(node: Any, argument: Any) -> list[int]:
    """The types of the tensors that one argument of an operation stands for."""
    if argument.type_list_attr:
        return types_of(node, argument.type_list_attr)
    one = argument.type or types_of(node, argument.type_attr)[0]
    return [one] * (node.attr[argument.number_attr].i if argument.number_attr else 1)


def _inputs(node: Any) -> list[str]:
    return [tensor if ":" in tensor else f"{tensor}:0" for tensor in node.input if not tensor.startswith("^")]


def _split(tensor: str) -> tuple[str, int]:
    name, _, port = tensor.partition(":")
    return name, int(port)


def _lowered(graph_def: Any, fetched: Iterable[str]) -> dict[str, Any]:
    """The nodes that fetching runs, by name, with functions inlined, and conditionals as switches and merges."""
    library = {function.signature.name: function for function in graph_def.library.function}
    renamed: dict[str, str] = {}
    nodes = {node.name: node for node in _inlined(_reached(graph_def.node, fetched), library, renamed, "")}
    for node in nodes.values():
        inputs = [_resolve(tensor, renamed) for tensor in _inputs(node)]
        del node.input[:]
        node.input.extend(inputs)
    return nodes


def _reached(nodes: Iterable[Any], fetched: Iterable[str]) -> list[Any]:
    """The nodes that the fetched ones depend on, and these."""
    by_name = {node.name: node for node in nodes}
    found: dict[str, Any] = {}
    waiting = list(fetched)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = by_name[name]
            waiting += [tensor.lstrip("^").partition(":")[0] for tensor in by_name[name].input]
    return list(found.values())


def _resolve(tensor: str, renamed: Mapping[str, str]) -> str:
    while tensor in renamed:
        tensor = renamed[tensor]
    return tensor


def _inlined(nodes: Iterable[Any], library: Mapping[str, Any], renamed: dict[str, str], scope: str) -> Iterator[Any]:
    """Yields copies of nodes, and those of the functions that they call; ``renamed`` leads from old tensors to new."""
    for original in nodes:
        node = node_def_pb2.NodeDef()
        node.CopyFrom(original)
        node.name = scope + node.name
        del node.input[:]
        node.input.extend(scope + tensor for tensor in _inputs(original))
        if node.op in _CONDITIONALS:
            yield from _branches(node, library, renamed)
        elif node.op in _LOOPS:
            yield from _loop(node, library, renamed)
        elif node.op in _CALLS:
            function = node.attr["f"].func.name
            yield from _body(node, function, list(node.input), library, renamed)
            renamed.update({f"{node.name}:{i}": result for i, result in enumerate(_results(node, function, library))})
        else:
            yield node


def _branches(node: Any, library: Mapping[str, Any], renamed: dict[str, str]) -> Iterator[Any]:
    """Yields a conditional: a switch for each argument, both branches, and a merge for each result."""
    predicate, *arguments = node.input
    switches = []
    for number, (tensor, kind) in enumerate(zip(arguments, types_of(node, "Tin"), strict=True)):
        switches.append(_node(f"{node.name}/switch_{number}", "Switch", [tensor, predicate], kind))
    yield from switches
    branches = [node.attr[f"{side}_branch"].func.name for side in ("else", "then")]
    for side, function in enumerate(branches):
        yield from _body(node, function, [f"{switch.name}:{side}" for switch in switches], library, renamed)
    results = zip(*(_results(node, function, library) for function in branches), strict=True)
    for port, (pair, kind) in enumerate(zip(results, types_of(node, "Tout"), strict=True)):
        merge = _node(f"{node.name}/merge_{port}", "Merge", list(pair), kind)
        merge.attr["N"].i = 2
        renamed[f"{node.name}:{port}"] = f"{merge.name}:0"
        yield merge


def _loop(node: Any, library: Mapping[str, Any], renamed: dict[str, str]) -> Iterator[Any]:
    """Yields a loop: for each variable entry, merge, switch, next iteration and exit; the condition and the body."""
    condition, body = (node.attr[part].func.name for part in ("cond", "body"))
    kinds = types_of(node, "T")
    merged = [f"{node.name}/Merge_{i}:0" for i in range(len(kinds))]
    yield from _body(node, condition, merged, library, renamed)
    yield from _body(node, body, [f"{node.name}/Switch_{i}:1" for i in range(len(kinds))], library, renamed)
    yield node_def_pb2.NodeDef(name=f"{node.name}/go_on", op="LoopCond", input=_results(node, condition, library))
    for i, (start, kind, result) in enumerate(zip(node.input, kinds, _results(node, body, library), strict=True)):
        for op, inputs in (
            ("Enter", [start]),
            ("Merge", [f"{node.name}/Enter_{i}:0", f"{node.name}/NextIteration_{i}:0"]),
            ("Switch", [merged[i], f"{node.name}/go_on:0"]),
            ("NextIteration", [result]),
            ("Exit", [f"{node.name}/Switch_{i}:0"]),
        ):
            part = _node(f"{node.name}/{op}_{i}", op, inputs, kind)
            part.attr["N"].i = len(inputs)
            yield part
        renamed[f"{node.name}:{i}"] = f"{node.name}/Exit_{i}:0"


def _body(
    node: Any, function: str, arguments: list[str], library: Mapping[str, Any], renamed: dict[str, str]
) -> Iterator[Any]:
    body, _ = function_def_to_graph.function_def_to_graph_def(library[function])
    scope = f"{node.name}/{function}/"
    names = [argument.name for argument in library[function].signature.input_arg]
    renamed.update({f"{scope}{name}:0": tensor for name, tensor in zip(names, arguments, strict=True)})
    yield from _inlined((n for n in body.node if n.name not in names), library, renamed, scope)


def _results(node: Any, function: str, library: Mapping[str, Any]) -> list[str]:
    """The tensors that a function called by a node returns."""
    _, flat = function_def_to_graph.function_def_to_graph_def(library[function])
    returned = [flat[library[function].ret[output.name]] for output in library[function].signature.output_arg]
    return [f"{node.name}/{function}/{tensor if ':' in tensor else f'{tensor}:0'}" for tensor in returned]


def _node(name: str, op: str, inputs: list[str], kind: int) -> Any:
    node = node_def_pb2.NodeDef(name=name, op=op, input=inputs)
    node.attr["T"].type = kind
    return node
