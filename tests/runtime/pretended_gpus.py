"""Shows GPUs to TensorFlow's context that the machine does not have; nothing may be computed on them.

Uses private names of TensorFlow 2.21 (``tensorflow/python/eager/context.py``): the public ones cannot add a device.
"""

import contextlib

import tensorflow as tf
from tensorflow.python.eager import context

KIND = {"device_name": "NVIDIA A100-SXM4-40GB", "compute_capability": (8, 0)}


def options_of_the_context():
    """The GPU options with which the context initializes the GPUs."""
    return context.context().config.gpu_options


def context_is_initialized():
    return context.context()._initialized


@contextlib.contextmanager
def pretended(count, details=KIND):
    """Adds GPUs to a context of its own, which takes the place of the process's context, and yields them."""
    before, shown = context.context(), context.Context()
    context._set_context(shown)
    shown._initialize_physical_devices()
    gpus = [context.PhysicalDevice(name=f"/physical_device:GPU:{i}", device_type="GPU") for i in range(count)]
    shown._physical_devices += gpus
    shown._visible_device_list += gpus
    shown._memory_growth_map |= dict.fromkeys(gpus)
    ask = tf.config.experimental.get_device_details
    tf.config.experimental.get_device_details = lambda device: details if device in gpus else ask(device)
    try:
        yield gpus
    finally:
        tf.config.experimental.get_device_details = ask
        context._set_context(before)
