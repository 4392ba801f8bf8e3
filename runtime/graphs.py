"""Any task's three graphs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from runtime.fine_tuning import learning_rate_multiplier
from runtime.histograms import histogram_summary
from runtime.plan import TrainingPlan
from runtime.precision import Precision
from runtime.stopping import VOTE, Stopping
from runtime.task import EvalGraph, PredictGraph, Task, TensorMap, TrainGraph
from utils.config import ExperimentConfig
from utils.hooks.bad_records import BAD_SOMEWHERE
from utils.hvd_utils import Communicator
from utils.input.batching import STATUS_OK, STATUS_PADDING, Input, Position, Shard
from utils.optimizer_table import OPTIMIZERS
from utils.optimizers import LossScale, Update, build_update, trained
from utils.weights.moving_averages import MovingAverages

tf1 = tf.compat.v1


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
    with tf.Graph().as_default() as graph:
        data = task.input("train", shard_of(communicator), start)
        step = _global_step()
        before = tf.identity(step.read_value())
        images, targets = task.prepare(data.batch, before)
        endpoints = task.forward(images, training=True)
        losses = task.losses(endpoints, targets, data.batch.mask)
        multiplier = learning_rate_multiplier(task, config.fine_tuning)
        l2_loss = task.weight_decay(trained(tf1.trainable_variables(), multiplier))
        learning_rate = tf.cast(plan.schedule.rate(tf.cast(before, tf.float64), tf), tf.float32)
        update = build_update(
            tf.add_n([*losses.values(), l2_loss]),
            step,
            learning_rate,
            make_optimizer=lambda rate: OPTIMIZERS[config.optimizer.name].build(rate, config.optimizer.momentum),
            loss_scale=LossScale(precision.static_loss_scale, dynamic=precision.dynamic_loss_scale),
            average=communicator.average_gradients,
            multiplier=multiplier,
        )
        after, begin_averages = _after(update, step, config.moving_average.ema_decay)
        means, votes = _of_all_processes(losses, data.batch.status, communicator, stopping)
        total = tf.add_n([*means.values(), l2_loss])
        scalars = {**means, "l2_loss": l2_loss, "total_loss": total, "learning_rate": learning_rate}
        scalars |= {"loss_scale": update.loss_scale} if precision.scales_loss else {}
        variables = tuple(tf1.global_variables())
        return TrainGraph(
            graph=graph,
            step=after,
            global_step=step,
            scalars=scalars,
            votes=votes,
            input=data,
            initializer=tf1.variables_initializer(variables),
            take_over=communicator.take_over(variables),
            begin_averages=begin_averages,
            finite={v.op.name: tf.reduce_all(tf.math.is_finite(v)) for v in variables if v.dtype.is_floating},
            variables=variables,
            saver=_saver(variables),
            histograms=histogram_summary(config.diagnostics, communicator, endpoints, update, after),
        )


def _after(update: Update, step: Any, ema_decay: float | None) -> tuple[Any, TensorMap]:
    """The step read after the update and after the averages took it in; and what begins each average, by name."""
    with tf.control_dependencies([update.operation]):
        after = step.read_value()
    if ema_decay is None:
        return after, {}
    averages = MovingAverages(ema_decay, tf1.global_variables())
    with tf.control_dependencies([after]), tf.control_dependencies([averages.update(after, update.finite)]):
        return tf.identity(after), averages.begin


def _of_all_processes(
    losses: TensorMap, status: Any, communicator: Communicator, stopping: Stopping
) -> tuple[TensorMap, TensorMap]:
    """The losses of the global batch, and by name what several processes have to know of each other after a step."""
    if communicator.size == 1:
        return losses, {}
    bad = tf.reduce_any((status != STATUS_OK) & (status != STATUS_PADDING))
    shared = communicator.average(tf.stack([*losses.values(), stopping.vote(), tf.cast(bad, tf.float32)]))
    *means, stop, bad_somewhere = tf.unstack(shared)
    votes = {VOTE: stop[tf.newaxis], BAD_SOMEWHERE: bad_somewhere[tf.newaxis]}  # vectors: scalars are logged
    return dict(zip(losses, means, strict=True)), votes


def build_eval_graph(task: Task, data: Input, graph: Any, communicator: Communicator) -> EvalGraph:
    """Composes an input that was built in ``graph`` with the network's outputs."""
    with graph.as_default():
        endpoints = task.forward(task.normalize(data.batch.images), training=False)
        variables = tuple(tf1.global_variables())
        return EvalGraph(
            graph=graph,
            endpoints=endpoints,
            outputs=task.outputs(endpoints, data.batch.targets),
            network=tf.add_n([tf.reduce_sum(endpoints[name]) for name in task.heads]) if task.heads else None,
            input=data,
            variables=variables,
            initializer=tf1.variables_initializer(variables),
            take_over=communicator.take_over(variables),
            saver=_saver(variables),
            stored_names=task.stored_names,
        )


def build_predict_graph(task: Task, graph: Any, images: Any, data: Input | None = None) -> PredictGraph:
    """Composes raw ``images``, a placeholder or those of ``data``, with the network's predictions."""
    with graph.as_default():
        endpoints = task.forward(task.normalize(images), training=False)
        variables = tuple(tf1.global_variables())
        return PredictGraph(
            graph=graph,
            images=images,
            endpoints=endpoints,
            predictions=task.predictions(endpoints),
            input=data,
            variables=variables,
            initializer=tf1.variables_initializer(variables),
            saver=_saver(variables),
            stored_names=task.stored_names,
        )


def shard_of(communicator: Communicator) -> Shard:
    """This process's part of the data."""
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


def _saver(variables: tuple[Any, ...]) -> Any:
    """None where there is nothing to save: artefacts have no variables."""
    return tf1.train.Saver(list(variables), max_to_keep=None) if variables else None
