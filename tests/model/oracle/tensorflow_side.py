"""Runs our networks with given weights, for comparison with another implementation."""

from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from model.layers.options import LayerOptions
from model.resnet import resnet
from utils.state_updates import update_state

tf1 = tf.compat.v1


@dataclass
class Pass:
    """One pass through a network.

    ``gradients`` are those of sum(logits * cotangent), by variable; ``moved`` the moving statistics after the updates.
    """

    logits: np.ndarray
    gradients: dict[str, np.ndarray] = field(default_factory=dict)
    moved: dict[str, np.ndarray] = field(default_factory=dict)


def run(spec, weights, images, *, cotangent=None, modes=(False, True)):
    """Returns a ``Pass`` per mode, inference (False) before training (True), both from the same ``weights``."""
    threads = tf1.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=1)
    classes = weights[f"{spec.name}/output/dense/bias"].size
    with tf.Graph().as_default():
        inputs = tf1.placeholder(tf.float32, images.shape)
        fetches = [_fetches(inputs, spec, classes, training, cotangent) for training in modes]
        variables = {v.op.name: v for v in tf1.global_variables()}
        assert variables.keys() == weights.keys()
        initial = {v.initializer.inputs[1]: weights[name] for name, v in variables.items()}
        moving = {name: v for name, v in variables.items() if "/moving_" in name}
        passes = []
        with tf1.Session(config=threads) as session:
            session.run([v.initializer for v in variables.values()], initial)
            for training, fetch in zip(modes, fetches, strict=True):
                logits, gradients, _ = session.run(fetch, {inputs: images})
                passes.append(Pass(logits, gradients, session.run(moving) if training else {}))
        return passes


def _fetches(inputs, spec, classes, training, cotangent):
    with tf1.variable_scope(tf1.get_variable_scope(), reuse=tf1.AUTO_REUSE):
        logits = resnet(inputs, spec, classes, LayerOptions(training=training))["logits"]
    variables = tf1.trainable_variables()
    gradients = [] if cotangent is None else tf.gradients(tf.reduce_sum(logits * cotangent), variables)
    by_name = {v.op.name: g for v, g in zip(variables, gradients, strict=False)}
    return logits, by_name, update_state() if training else []
