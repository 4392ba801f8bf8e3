"""Session options: device, memory, threads and compilation."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from runtime.devices.gpu_choice import GPU, ChosenGpu
from utils.config import ExperimentConfig
from utils.flags.environment_variables import XLA_VARIABLE, compiles_on_cpus
from utils.hvd_utils import Communicator
from utils.input.batching import Input
from utils.input.staging import staged

tf1 = tf.compat.v1


def session_config(config: ExperimentConfig, communicator: Communicator, gpu: ChosenGpu | None) -> Any:
    """The ``ConfigProto`` of every session in a run.

    Each of several processes on a host gets its share of the CPUs. The options of the GPU repeat what ``take_gpu`` has
    told TensorFlow's context: the two must not differ.
    """
    options = tf1.ConfigProto(allow_soft_placement=True)
    if communicator.size > 1:
        options.intra_op_parallelism_threads = options.inter_op_parallelism_threads = communicator.threads
    if gpu is None:
        options.device_count["GPU"] = 0
    else:
        options.gpu_options.visible_device_list = str(gpu.index)
        options.gpu_options.force_gpu_compatible = True
        if gpu.memory_limit_mib is None:
            options.gpu_options.allow_growth = True
        else:
            options.gpu_options.experimental.virtual_devices.add(memory_limit_mb=[gpu.memory_limit_mib])
    if config.run.deterministic:  # the optimizer would merge sums of two into sums of many, whose order varies
        rewriting = options.graph_options.rewrite_options
        rewriting.arithmetic_optimization = rewriting.OFF
    if compiles(config):
        options.graph_options.optimizer_options.global_jit_level = tf1.OptimizerOptions.ON_2
    return options


def training_options(options: Any, config: ExperimentConfig) -> Any:
    """The ``ConfigProto`` of a training session: ``options``, with a shorter first step on CPUs.

    TensorFlow optimizes a graph in two rounds. On CPUs the second one changes no result of a training graph, and takes
    a second for the larger networks.
    """
    if uses_gpu(config):
        return options
    shorter = tf1.ConfigProto()
    shorter.CopyFrom(options)
    rewriting = shorter.graph_options.rewrite_options
    rewriting.meta_optimizer_iterations = rewriting.ONE
    return shorter


def compiles(config: ExperimentConfig) -> bool:
    """Returns whether XLA compiles the graph: with ``--xla`` on a GPU, and on a CPU if ``TF_XLA_FLAGS`` asks for it.

    On a CPU, TensorFlow's own kernels use oneDNN and are faster than what XLA compiles (docs/performance.md).
    """
    return config.precision.xla and (uses_gpu(config) or compiles_on_cpus(os.environ))


def note_on_xla(config: ExperimentConfig) -> str:
    """A sentence if ``--xla`` has no effect, else ""."""
    if not config.precision.xla or compiles(config):
        return ""
    return (
        "--xla: nothing is compiled on a CPU, where TensorFlow's own kernels are faster; --tf_xla_cpu_global_jit=true "
        f"in {XLA_VARIABLE} compiles nonetheless"
    )


def uses_gpu(config: ExperimentConfig) -> bool:
    """Returns whether this run computes on a GPU."""
    return not config.run.cpu and bool(tf.config.list_physical_devices("GPU"))


def compute_capability() -> tuple[int, int] | None:
    """The lowest compute capability of the GPUs that this process may use; None if there are none or it is unknown."""
    details = map(tf.config.experimental.get_device_details, tf.config.get_visible_devices("GPU"))
    return min((found["compute_capability"] for found in details if "compute_capability" in found), default=None)


def on_device(data: Input, config: ExperimentConfig) -> Input:
    """``data``, on a GPU with each batch copied there during the step before."""
    return staged(data, GPU) if uses_gpu(config) else data


def gpu_names() -> list[str]:
    """Names of the GPUs that TensorFlow can use."""
    details = tf.config.experimental.get_device_details
    return [details(gpu).get("device_name", gpu.name) for gpu in tf.config.list_physical_devices("GPU")]
