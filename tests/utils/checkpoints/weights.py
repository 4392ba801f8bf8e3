"""Variables to save, and the values in their checkpoints."""

import json

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
FILES = ("data-00000-of-00001", "index", "json")


class Weights:
    """Two variables in a session, filled with one number."""

    def __init__(self, shape=(3,), name="kernel"):
        with tf.Graph().as_default() as graph:
            self.variables = [
                tf1.get_variable(f"network/{name}", shape, use_resource=True),
                tf1.get_variable(f"network/{name}/Momentum", shape, use_resource=True),
            ]
            self._value = tf1.placeholder(tf.float32, [])
            self._assign = [variable.assign(tf.fill(shape, self._value)) for variable in self.variables]
            self.saver = tf1.train.Saver(self.variables, max_to_keep=None)
        self.session = tf1.Session(graph=graph)

    def fill(self, value):
        self.session.run(self._assign, {self._value: value})

    def values(self):
        return {float(value) for array in self.session.run(self.variables) for value in np.ravel(array)}


def numbers(prefix):
    """The set of distinct values of all variables in a checkpoint."""
    reader = tf.train.load_checkpoint(str(prefix))
    assert set(reader.get_variable_to_shape_map()) == {"network/kernel", "network/kernel/Momentum"}
    return {float(v) for name in reader.get_variable_to_shape_map() for v in np.unique(reader.get_tensor(name))}


def without_checksums(path):
    """The content of a description, without the checksums that forbid other weights and other words."""
    content = json.loads(path.read_text())
    del content["checksums"]
    return content
