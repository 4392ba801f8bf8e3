"""The three graphs of any task: training, evaluation, prediction.

Shape symbols: N batch, H W image.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from runtime.devices.precision import Precision
from runtime.inference.network import InferenceNetwork, inference_network
from runtime.planning.model_size import NetworkSize, network_size
from runtime.planning.plan import TrainingPlan
from runtime.session import on_device, uses_gpu
from runtime.stopping import VOTE, Stopping
from runtime.task import Task, TensorMap
from runtime.training.accumulation import Parts, accumulate
from runtime.training.fine_tuning import learning_rate_multiplier
from runtime.training.histograms import histogram_summary
from utils.config import ExperimentConfig, MovingAverageConfig
from utils.data_utils import PICTURE_SIZES
from utils.hooks.bad_records import BAD_SOMEWHERE
from utils.hooks.logs import HISTOGRAMS
from utils.hvd_utils import Communicator
from utils.input.batching import STATUS_OK, STATUS_PADDING, Batch, Input, Position, Shard
from utils.optimizer_table import OPTIMIZERS
from utils.optimizers import Descent, LossScale, Update, build_update, settings_of, trained
from utils.weights.moving_averages import MovingAverages

tf1 = tf.compat.v1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainGraph:
    """A training graph. Fetching ``step`` performs one update and returns the step after it.

    Fetching ``taken_over`` copies rank 0's variables to all processes and returns their step. ``votes`` holds the
    tensors that processes exchange in a step. ``begin_averages`` holds the operations that set a moving average to its
    variable, by the name of the average. ``finite`` and ``saver`` add what only a checkpoint needs, when first called:
    by the name of each variable, a tensor that says if all its values are finite, and a ``tf.train.Saver``.
    ``histograms``, if any, is a serialized summary, which is empty after most steps.
    """

    graph: Any
    step: Any
    global_step: Any
    scalars: TensorMap
    votes: TensorMap
    input: Input
    initializer: Any
    taken_over: Any
    begin_averages: TensorMap
    finite: Callable[[], TensorMap]
    variables: tuple[Any, ...]
    saver: Callable[[], Any]
    size: NetworkSize
    histograms: Any = None

    def fetches(self) -> TensorMap:
        """The tensors that the loop fetches for one batch."""
        shown = {} if self.histograms is None else {HISTOGRAMS: self.histograms}
        return {"step": self.step, **_bookkeeping(self.input), **self.votes, **self.scalars, **shown}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalGraph:
    """A graph that computes the network's outputs next to the targets, batch by batch.

    ``alone`` is the sum of the network's ends, or None if post-processing is cheap. Fetching a sum runs the whole
    network; TensorFlow prunes everything that no fetched value depends on.
    """

    graph: Any
    network: InferenceNetwork
    outputs: TensorMap
    alone: Any
    input: Input

    def fetches(self) -> TensorMap:
        """The tensors that the loop fetches for one batch."""
        return {**_bookkeeping(self.input), **self.outputs}


@dataclass(frozen=True, slots=True)
class NetworkAlone:
    """An evaluation graph for benchmarks of the network alone: no post-processing runs."""

    whole: EvalGraph

    def fetches(self) -> TensorMap:
        """The tensors that the loop fetches for one batch."""
        return {**_bookkeeping(self.whole.input), "network": self.whole.alone}


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictGraph:
    """A graph that predicts for the images of its input."""

    graph: Any
    network: InferenceNetwork
    predictions: TensorMap
    input: Input

    def fetches(self) -> TensorMap:
        """The tensors that the loop fetches for one batch."""
        return {**_bookkeeping(self.input), **self.predictions}


def _bookkeeping(data: Input) -> TensorMap:
    return {"status": data.batch.status, "index": data.batch.index, "wait_seconds": data.wait_seconds}


def build_train_graph(
    task: Task,
    config: ExperimentConfig,
    plan: TrainingPlan,
    precision: Precision,
    communicator: Communicator,
    stopping: Stopping,
    start: Position,
) -> TrainGraph:
    """Composes input, network, losses, schedule and update."""
    grouped = uses_gpu(config)  # a GPU would take longer to start an operation for each variable than to compute it
    with tf.Graph().as_default() as graph:
        data = on_device(task.data.input("train", shard_of(communicator), start), config)
        step = _global_step()
        before = tf.identity(step.read_value())
        parts = _prepared(task, data.batch, before, config.optimizer.accumulate_steps)
        images, targets, mask = parts.part(0)
        endpoints, size = task.training.forward(images, targets), network_size(images)
        losses = task.training.losses(endpoints, targets, mask)
        multiplier = learning_rate_multiplier(task.training, config.fine_tuning)
        learning_rate = tf.cast(plan.schedule.rate(tf.cast(before, tf.float64), tf), tf.float32)
        trainable = trained(tf1.trainable_variables(), multiplier)
        decay = task.training.weight_decay(trainable)
        loss_scale = LossScale(precision.static_loss_scale, dynamic=precision.dynamic_loss_scale)
        losses, total = accumulate(task, parts, losses, trainable, loss_scale.value)
        settings = settings_of(config.optimizer, decay, unit_clipped=_below_head(task, trainable))
        descent = Descent(learning_rate, OPTIMIZERS[config.optimizer.name], settings, multiplier)
        average = communicator.average_gradients
        update = build_update(
            total, step, descent, loss_scale=loss_scale, decay=decay, average=average, grouped=grouped
        )
        after, begin_averages = _step_after(update, step, config.moving_average, plan, grouped=grouped)
        means, votes = _exchanged(losses, data.batch.status, communicator, stopping)
        variables = tuple(tf1.global_variables())
        return TrainGraph(
            graph=graph,
            step=after,
            global_step=step,
            scalars=_scalars(means, update, learning_rate, scaled=precision.scales_loss),
            votes=votes,
            input=data,
            initializer=tf1.variables_initializer(variables),
            taken_over=_step_of_rank_0(step, communicator, variables),
            begin_averages=begin_averages,
            finite=functools.cache(lambda: _finite(variables)),
            variables=variables,
            saver=functools.cache(lambda: _saver(graph, variables)),
            size=size,
            histograms=histogram_summary(config.diagnostics, communicator, endpoints, update, after),
        )


def _step_of_rank_0(step: Any, communicator: Communicator, variables: Sequence[Any]) -> Any:
    """The step after all processes have taken over the variables of rank 0."""
    with tf.control_dependencies([communicator.take_over(variables)]):
        return step.read_value()


def _saver(graph: Any, variables: Sequence[Any]) -> Any:
    with graph.as_default():
        return tf1.train.Saver(list(variables), max_to_keep=None)


def _prepared(task: Task, batch: Batch, step: Any, parts: int) -> Parts:
    """The batch, ready for the network and the losses."""
    images, targets = task.training.prepare(task.network.normalize(batch.images), batch, step)
    return Parts(images=images, targets=targets, mask=batch.mask, count=parts)


def _below_head(task: Task, variables: Iterable[Any]) -> list[str]:
    """The names of the variables of all layers but the last."""
    return [v.op.name for v in variables if task.training.part_of(v.op.name) != "head"]


def _finite(variables: Iterable[Any]) -> TensorMap:
    """By the name of each variable, a tensor that says if all its values are finite."""
    found = {}
    for variable in variables:
        if variable.dtype.is_floating:
            with variable.graph.as_default():
                found[variable.op.name] = tf.reduce_all(tf.math.is_finite(variable))
    return found


def _scalars(losses: TensorMap, update: Update, learning_rate: Any, *, scaled: bool) -> TensorMap:
    """The scalars of a step by log key."""
    total = tf.reduce_sum(tf.stack([*losses.values(), update.l2_loss]))  # unlike add_n, always in this order
    scalars = {**losses, "l2_loss": update.l2_loss, "total_loss": total, "learning_rate": learning_rate}
    return {**scalars, "loss_scale": update.loss_scale} if scaled else scalars


def _step_after(
    update: Update, step: Any, average: MovingAverageConfig, plan: TrainingPlan, *, grouped: bool
) -> tuple[Any, TensorMap]:
    """The step after the updates of variables and averages, and the initial operation of each average by name."""
    with tf.control_dependencies([update.operation]):
        after = step.read_value()
    decay = average.decay_in(plan.total_steps)
    if decay is None:
        return after, {}
    averages = MovingAverages(decay, tf1.global_variables(), average.ema_every)
    with (
        tf.control_dependencies([after]),
        tf.control_dependencies([averages.update(after, update.finite, grouped=grouped)]),
    ):
        return tf.identity(after), averages.begin


def _exchanged(
    losses: TensorMap, status: Any, communicator: Communicator, stopping: Stopping
) -> tuple[TensorMap, TensorMap]:
    """The losses of the global batch, and by name the tensors that several processes exchange in a step."""
    if communicator.size == 1:
        return losses, {}
    bad = tf.reduce_any((status != STATUS_OK) & (status != STATUS_PADDING))
    shared = communicator.average(tf.stack([*losses.values(), stopping.vote(), tf.cast(bad, tf.float32)]))
    *means, stop, bad_somewhere = tf.unstack(shared)
    votes = {VOTE: stop[tf.newaxis], BAD_SOMEWHERE: bad_somewhere[tf.newaxis]}  # vectors: scalars are logged
    return dict(zip(losses, means, strict=True)), votes


def build_eval_graph(task: Task, data: Input, communicator: Communicator, *, constant: bool = False) -> EvalGraph:
    """Adds the network's outputs to the graph of the input ``data``; ``constant`` is that of ``inference_network``."""
    network = inference_network(task, data.batch.images, communicator, constant=constant)
    last = task.post_processing
    graph = data.batch.images.graph
    with graph.as_default():
        ends = last.ends if last.is_costly else ()
        return EvalGraph(
            graph=graph,
            network=network,
            outputs=last.outputs(network.endpoints, data.batch.targets),
            alone=tf.add_n([tf.reduce_sum(network.endpoints[name]) for name in ends]) if ends else None,
            input=data,
        )


def build_predict_graph(task: Task, data: Input, communicator: Communicator, *, constant: bool = False) -> PredictGraph:
    """Adds the network's predictions to the graph of the input ``data``; the arguments are those for evaluation."""
    network = inference_network(task, data.batch.images, communicator, constant=constant)
    graph = data.batch.images.graph
    with graph.as_default():
        predictions = task.post_processing.predictions(network.endpoints)
        if PICTURE_SIZES in data.batch.targets:
            predictions = task.post_processing.in_pictures(predictions, data.batch.targets[PICTURE_SIZES])
    return PredictGraph(graph=graph, network=network, predictions=predictions, input=data)


def shard_of(communicator: Communicator) -> Shard:
    """The shard of this process."""
    return Shard(index=communicator.rank, count=communicator.size)


def _global_step() -> Any:
    return tf1.get_variable(
        "global_step",
        shape=(),
        dtype=tf.int64,
        initializer=tf1.zeros_initializer(),
        trainable=False,
        use_resource=True,
        collections=[tf1.GraphKeys.GLOBAL_VARIABLES, tf1.GraphKeys.GLOBAL_STEP],
    )
