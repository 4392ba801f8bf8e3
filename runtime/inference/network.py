"""A network for inference whose weights are prepared once for each loading.

Before a network convolves, it multiplies its kernels by the scales of batch normalization, casts them, and rounds them
if it is quantized. None of this depends on the images. The variables and these operations therefore form a graph of
their own, which runs when weights are loaded. The graph that runs for each batch reads the results from variables.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

from runtime.inference.onednn import with_fused_convolutions
from runtime.planning.model_size import NetworkSize, network_size
from runtime.task import Setup, Task, TensorMap
from utils.config import resolved
from utils.hvd_utils import Communicator
from utils.image_processing import CHANNELS
from utils.image_sizes import sides_of
from utils.weights.checkpoint_contents import Names

tf1 = tf.compat.v1
_HELD = "prepared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The variables of a network in a graph; ``stored_names`` are those of the network.

    ``saver`` is None if there are no variables, as in artefacts.
    """

    graph: Any
    variables: tuple[Any, ...]
    initializer: Any
    saver: Any
    stored_names: Names


PlacedNetwork = tuple["_Held", ...]
"""Variables of a running graph, with the values of ``PreparedNetwork.prepared``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedNetwork:
    """A network in two parts: what depends on its variables alone, and what runs for each batch.

    Attributes:
        weights: Its variables, in a graph of their own.
        size: Its size.
        take_over: Copies rank 0's variables to all processes, in the graph of the variables.
        prepared: What the network reads and what depends on variables alone, in the graph of the variables.
        input: Name of the images in ``running``.
        ends: Names of the endpoints' tensors in ``running``, by endpoint.
        running: Definition of the operations that run for each batch.
    """

    weights: Weights
    size: NetworkSize
    take_over: Any
    prepared: tuple[Any, ...]
    input: str
    ends: Mapping[str, str]
    running: Any

    def placed(self) -> PlacedNetwork:
        """Adds variables for ``prepared`` to the current graph; they are in no collection."""
        return tuple(_Held.like(tensor) for tensor in self.prepared)

    def endpoints(self, images: Any, placed: PlacedNetwork, name: str = "network") -> TensorMap:
        """Adds the running part to the graph of the images, which may be the body of a loop around ``placed``."""
        with images.graph.as_default():
            values = [v.value if v.value.graph is images.graph else tf.identity(v.value) for v in placed]
            given = {tensor.name: value for tensor, value in zip(self.prepared, values, strict=True)}
            names = list(self.ends.values())
            found = tf.import_graph_def(self.running, {self.input: images, **given}, names, name=name)
        return dict(zip(self.ends, found, strict=True))

    def load(
        self, session: Any, options: Any, placed: PlacedNetwork, restore: Callable[[Any, Weights], object] | None
    ) -> None:
        """Fills the placed variables.

        Args:
            session: Session of the running graph.
            options: Options of the session that prepares the weights.
            placed: The variables of the running graph.
            restore: Restores the weights, given a session of their graph. If None, they are random, or those of rank 0.
        """
        with tf1.Session(graph=self.weights.graph, config=options) as own:
            if restore is None:
                own.run(self.weights.initializer)
            else:
                restore(own, self.weights)
            own.run(self.take_over)
            values = own.run(list(self.prepared))
        given = {held.given: value for held, value in zip(placed, values, strict=True)}
        session.run([held.assign for held in placed], given)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceNetwork:
    """A network in the graph that runs it.

    Attributes:
        endpoints: Its tensors.
        size: Its size.
        weights: Its variables, in a graph of their own.
        prepared: The network in two parts, or None for an artefact.
        held: Variables of the running graph, with the values of ``prepared``.
    """

    endpoints: TensorMap
    size: NetworkSize
    weights: Weights
    prepared: PreparedNetwork | None = None
    held: PlacedNetwork = ()

    def load(self, session: Any, options: Any, restore: Callable[[Any, Weights], object] | None) -> None:
        """Fills the variables that the network reads, as ``PreparedNetwork.load``; an artefact has none."""
        if self.prepared is not None:
            self.prepared.load(session, options, self.held, restore)


def network_with_variables(task: Task, images: Any) -> InferenceNetwork:
    """Adds a network to the graph of ``images``, raw RGB [N, H, W, 3] in 0..255, as it is trained: with variables."""
    with images.graph.as_default() as graph:
        endpoints = task.network.forward(task.network.normalize(images), training=False)
        size, variables = network_size(images), tuple(tf1.global_variables())
        weights = Weights(
            graph=graph,
            variables=variables,
            initializer=tf1.variables_initializer(variables),
            saver=tf1.train.Saver(list(variables), max_to_keep=None) if variables else None,
            stored_names=task.network.stored_names,
        )
    return InferenceNetwork(endpoints=endpoints, size=size, weights=weights)


@contextlib.contextmanager
def opened_weights(setup: Setup) -> Iterator[tuple[Any, Weights]]:
    """Yields a session and the variables of a setup's network, without values."""
    shape = [None, *sides_of(resolved(setup.config.model, "image_size")), CHANNELS]
    with tf.Graph().as_default() as graph:
        weights = network_with_variables(setup.task, tf1.placeholder(tf.float32, shape)).weights
    with tf1.Session(graph=graph, config=setup.session_config) as session:
        yield session, weights


def inference_network(task: Task, images: Any, communicator: Communicator, *, constant: bool) -> InferenceNetwork:
    """Adds a network to the graph of ``images``, with variables for what it computes from its weights.

    Args:
        task: The task that builds it.
        images: [N, H, W, 3], raw RGB in 0..255.
        communicator: The processes that share the weights.
        constant: Whether convolutions keep their kernels from the first batch on, which the machine must support
            (``keeps_kernels``). The weights can be loaded only once in a session then.
    """
    parts = prepared_network(task, images, communicator, constant=constant)
    if not parts.weights.variables:
        return network_with_variables(task, images)
    with images.graph.as_default():
        held = parts.placed()
    endpoints = parts.endpoints(images, held)
    return InferenceNetwork(endpoints=endpoints, size=parts.size, weights=parts.weights, prepared=parts, held=held)


def prepared_network(task: Task, images: Any, communicator: Communicator, *, constant: bool = False) -> PreparedNetwork:
    """The two parts of a network for images of a type and shape; the arguments are those of ``inference_network``."""
    with tf.Graph().as_default() as graph:
        placeholder = tf1.placeholder(images.dtype, images.shape)
        network = network_with_variables(task, placeholder)
        take_over = communicator.take_over(network.weights.variables)
    ends = list(network.endpoints.values())
    prepared = _prepared(ends, graph)
    running = _running_part(ends, [placeholder, *prepared], graph)
    if constant and prepared:
        running = with_fused_convolutions(running, graph.get_operations(), ends, _used_once(prepared))
    return PreparedNetwork(
        weights=network.weights,
        size=network.size,
        take_over=take_over,
        prepared=prepared,
        input=placeholder.name,
        ends={name: tensor.name for name, tensor in network.endpoints.items()},
        running=running,
    )


def _behind(tensors: Iterable[Any], given: Iterable[Any] = ()) -> set[Any]:
    """The operations that compute the tensors, from the given ones."""
    ends = {tensor.op for tensor in given}
    found: set[Any] = set()
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        operation = waiting.pop()
        if operation not in found and operation not in ends:
            found.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)
    return found


def _prepared(ends: Iterable[Any], graph: Any) -> tuple[Any, ...]:
    """The tensors behind ``ends`` that depend on variables alone and that other operations read."""
    needed = _behind(ends)
    fixed: dict[Any, bool] = {}
    from_variables: dict[Any, bool] = {}
    found: dict[str, Any] = {}
    for operation in graph.get_operations():
        if operation not in needed:
            continue
        inputs = operation.inputs
        fixed[operation] = operation.type != "Placeholder" and all(fixed[tensor.op] for tensor in inputs)
        from_variables[operation] = operation.type == "VarHandleOp" or any(from_variables[t.op] for t in inputs)
        if not fixed[operation]:
            found |= {t.name: t for t in inputs if fixed[t.op] and from_variables[t.op]}
    return tuple(found.values())


def _used_once(prepared: Iterable[Any]) -> list[Any]:
    """The prepared tensors that share no variable with others of their shape, unlike those of a detector's levels."""
    sources = [(tensor, frozenset(o.name for o in _behind([tensor]) if _is_variable(o, tensor))) for tensor in prepared]
    uses = Counter(names for _, names in sources)
    return [tensor for tensor, names in sources if uses[names] == 1]


def _is_variable(operation: Any, like: Any) -> bool:
    return bool(operation.type == "VarHandleOp" and operation.get_attr("shape") == like.shape.as_proto())


def _running_part(ends: Iterable[Any], given: Iterable[Any], graph: Any) -> Any:
    """The definition of the operations that run for each batch."""
    names = {operation.name for operation in _behind(ends, given)}
    whole = graph.as_graph_def()
    running = tf1.GraphDef(versions=whole.versions, library=whole.library)
    running.node.extend(node for node in whole.node if node.name in names)
    return running


class _Held(NamedTuple):
    """A variable without the parts that training needs, which take most of the time to build one.

    Attributes:
        op: The operation of the variable.
        shape: Its shape.
        dtype: Its type.
        value: Reads it.
        given: The placeholder of its next value.
        assign: Assigns that value.
    """

    op: Any
    shape: Any
    dtype: Any
    value: Any
    given: Any
    assign: Any

    @classmethod
    def like(cls, tensor: Any) -> _Held:
        """A variable for the values of a tensor, in the current graph."""
        name, dtype, shape = f"{_HELD}/{tensor.op.name}", tensor.dtype, tensor.shape
        handle = tf.raw_ops.VarHandleOp(dtype=dtype, shape=shape, shared_name=name, name=name)
        given = tf1.placeholder(dtype, shape)
        return cls(
            op=handle.op,
            shape=shape,
            dtype=dtype,
            value=tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype),
            given=given,
            assign=tf.raw_ops.AssignVariableOp(resource=handle, value=given),
        )
