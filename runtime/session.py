"""Session options: devices, memory, threads and compilation."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from utils.config import ExperimentConfig
from utils.errors import UsageError
from utils.hvd_utils import Communicator

tf1 = tf.compat.v1


def session_config(config: ExperimentConfig, communicator: Communicator) -> Any:
    """The ``ConfigProto`` of every session in a run.

    Each of several processes on a host gets its own GPU and its share of the CPUs.

    Raises:
        UsageError: ``--gpu_id`` names a GPU that the machine does not have.
    """
    options = tf1.ConfigProto(allow_soft_placement=True)
    gpus = [] if config.run.cpu else tf.config.list_physical_devices("GPU")
    if config.run.gpu_id is not None and config.run.gpu_id >= len(gpus):
        found = f"GPUs 0 to {len(gpus) - 1}" if gpus else "no GPU that TensorFlow can use"
        raise UsageError(f"--gpu_id {config.run.gpu_id}: does not exist; this machine has {found}")
    if communicator.size > 1:
        options.intra_op_parallelism_threads = options.inter_op_parallelism_threads = communicator.threads
        if gpus and config.run.gpu_id is not None:
            raise UsageError(
                f"--gpu_id {config.run.gpu_id}: each of the {communicator.size} processes uses its own GPU"
            )
        if gpus and communicator.local_rank >= len(gpus):
            raise UsageError(
                f"rank {communicator.rank} is process {communicator.local_rank + 1} of its host, which has {len(gpus)} "
                "GPUs that TensorFlow can use; launch fewer processes there, or give --cpu"
            )
    if gpus:
        chosen = communicator.local_rank if config.run.gpu_id is None else config.run.gpu_id
        options.gpu_options.visible_device_list = str(chosen)
        options.gpu_options.force_gpu_compatible = True
        if config.run.gpu_memory_fraction is None:
            options.gpu_options.allow_growth = True
        else:
            options.gpu_options.per_process_gpu_memory_fraction = config.run.gpu_memory_fraction
    if config.run.deterministic:  # the optimizer would merge sums of two into sums of many, whose order varies
        rewriting = options.graph_options.rewrite_options
        rewriting.arithmetic_optimization = rewriting.OFF
    if config.precision.xla:
        options.graph_options.optimizer_options.global_jit_level = tf1.OptimizerOptions.ON_2
    return options


def uses_gpu(config: ExperimentConfig) -> bool:
    """Returns whether this run computes on a GPU."""
    return not config.run.cpu and bool(tf.config.list_physical_devices("GPU"))


def compute_capability(config: ExperimentConfig) -> tuple[int, int] | None:
    """The lowest compute capability of the GPUs that this run may use; None if there are none or it is not known."""
    if config.run.cpu:
        return None
    gpus = tf.config.list_physical_devices("GPU")
    chosen = gpus if config.run.gpu_id is None else gpus[config.run.gpu_id : config.run.gpu_id + 1]
    details = [tf.config.experimental.get_device_details(gpu) for gpu in chosen]
    known = [found["compute_capability"] for found in details if "compute_capability" in found]
    return min(known, default=None)


def gpu_names() -> list[str]:
    """Names of the GPUs that TensorFlow can use."""
    details = tf.config.experimental.get_device_details
    return [details(gpu).get("device_name", gpu.name) for gpu in tf.config.list_physical_devices("GPU")]
