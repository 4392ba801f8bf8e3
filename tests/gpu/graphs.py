"""The graphs of this project as a machine with a GPU builds them, on a machine without one."""

from __future__ import annotations

from typing import Any
from unittest import mock

import tensorflow as tf

from model.specs import RESNETS, SSDS
from runtime import setup as setup_module
from runtime.graphs import build_eval_graph, build_predict_graph, build_train_graph
from runtime.plan import plan_training
from runtime.precision import Precision
from runtime.stopping import Stopping
from runtime.task import Setup
from utils.cmdline_helper import parse
from utils.hooks.preemption import PreemptionHook
from utils.hvd_utils import SerialCommunicator
from utils.input.batching import Position, Shard

NETWORKS = (*RESNETS, *SSDS)
PRECISIONS = {
    "float32": Precision(compute_dtype=tf.float32),
    "float16": Precision(compute_dtype=tf.float16, dynamic_loss_scale=True),
    "bfloat16": Precision(compute_dtype=tf.bfloat16),
}
MODES = ("training_benchmark", "inference_benchmark", "predict")


def gpu_setup(architecture: str, precision: str, *flags: str, mode: str = "training_benchmark") -> Setup:
    """The setup of a launch on synthetic data, as on a machine with a GPU that has all kernels."""
    command = parse([f"--arch={architecture}", f"--mode={mode}", "--batch_size=2", "--num_iter=2", *flags], {})
    with (
        mock.patch.object(setup_module, "uses_gpu", return_value=True),
        mock.patch.object(setup_module, "choose_precision", return_value=PRECISIONS[precision]),
        mock.patch.object(setup_module, "probe_grouped_convolution", return_value="native"),
    ):
        return setup_module.set_up(command.config, SerialCommunicator())


def graph_of(architecture: str, precision: str, *flags: str, mode: str = "training_benchmark") -> Any:
    """The graph and what a step of it fetches."""
    asked = "training_benchmark" if mode == "training_benchmark" else "inference_benchmark"
    setup, alone = gpu_setup(architecture, precision, *flags, mode=asked), SerialCommunicator()
    if mode == "training_benchmark":
        plan = plan_training(setup.config, setup.task.data.num_examples("train"), alone.size)
        stopping = Stopping(PreemptionHook(), alone)
        built = build_train_graph(setup.task, setup.config, plan, setup.precision, alone, stopping, Position())
        return built.graph, built.fetches()
    graph = tf.Graph()
    with graph.as_default():
        data = setup.task.data.input("validation", Shard(), Position())
    if mode == "predict":
        built = build_predict_graph(setup.task, graph, data.batch.images, data)
    else:
        built = build_eval_graph(setup.task, data, graph, alone)
    return built.graph, built.fetches()
