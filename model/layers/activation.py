"""Activation functions by the names that ``model.specs`` gives them."""

from __future__ import annotations

import tensorflow as tf

ACTIVATIONS = {"relu": tf.nn.relu, "relu6": tf.nn.relu6}
