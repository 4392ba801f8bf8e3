"""Tiny networks, stored as by other programs."""

from dataclasses import replace
from unittest import mock

import numpy as np
import tensorflow as tf

from model.specs import RESNETS, SLIM_NAMES
from model.variables import backbone_variables
from tests.model.oracle.numpy_resnet import Network
from tests.model.oracle.timm_side import timm_key, to_timm
from tests.model.oracle.weights import random_weights, variable_shapes
from tests.runtime.runs import TINY
from tools import import_weights
from utils.image_processing import eval_preprocess

tf1 = tf.compat.v1
CLASSES = 5
SIZE = 40
TORCH_MEAN, TORCH_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SLIM_MEAN = (123.68, 116.779, 103.939)


def weights_of(architecture, seed=1):
    """Random weights under this project's names."""
    return random_weights(variable_shapes(TINY[architecture], CLASSES), seed)


def torch_state(weights):
    """The same weights as timm stores them."""
    return {timm_key(name): _to_torch(name, array) for name, array in weights.items()}


def _to_torch(name, array):
    shape = array.T.shape if array.ndim != 4 else array.transpose(3, 2, 0, 1).shape
    if "bottleneck_se_layer" in name and array.ndim == 2:
        shape = (*shape, 1, 1)  # 1x1 convolutions there
    return to_timm(array, shape)


def slim_values(weights):
    """Weights of a resnet50 as slim stores them."""
    spec = TINY["resnet50"]
    slim = backbone_variables(replace(spec, names=SLIM_NAMES))
    pairs = zip(backbone_variables(spec), slim, strict=True)
    values = {f"resnet_v1_50/{theirs}": weights[f"resnet50/{ours}"] for ours, theirs in pairs}
    dense = weights["resnet50/output/dense/kernel"]
    head = {"weights": dense[np.newaxis, np.newaxis], "biases": weights["resnet50/output/dense/bias"]}
    mean = {"resnet_v1_50/mean_rgb": np.float32(SLIM_MEAN)}
    return values | {f"resnet_v1_50/logits/{kind}": value for kind, value in head.items()} | mean


def save_checkpoint(prefix, values, version=None):
    """Writes a checkpoint without a state file or a description."""
    kinds = {} if version is None else {"write_version": version}
    with tf.Graph().as_default(), tf1.Session() as session:
        made = {name: tf1.get_variable(name, initializer=value, use_resource=True) for name, value in values.items()}
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver(made, **kinds).save(session, str(prefix), write_meta_graph=False, write_state=False)
    return prefix


def probabilities(architecture, weights, files, *, mean, std, **settings):
    """The probabilities that NumPy computes for image files, preprocessed as in evaluation."""
    with tf.Graph().as_default(), tf1.Session() as session:
        encoded = tf1.placeholder(tf.string)
        image = eval_preprocess(encoded, SIZE)
        pixels = np.stack([session.run(image, {encoded: path.read_bytes()}) for path in files])
    spec = TINY[architecture].as_trained(**settings)
    logits = Network(spec, weights, training=False).logits((pixels - mean) / std)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def convert(*arguments):
    """Runs the command with tiny networks; returns its exit status."""
    with mock.patch.dict(RESNETS, TINY):
        return import_weights.main([str(argument) for argument in arguments])
