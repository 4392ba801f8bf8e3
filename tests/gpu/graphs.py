"""The graphs of this project as a machine with a GPU builds them, on a machine without one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import tensorflow as tf

from model.specs import RESNETS, SSDS
from runtime import graphs, session
from runtime.devices.gpu_choice import GPU
from runtime.devices.precision import Precision
from runtime.graphs import build_eval_graph, build_predict_graph, build_train_graph
from runtime.planning.plan import plan_training
from runtime.session import on_device
from runtime.setup import set_up as setup_module
from runtime.stopping import Stopping
from runtime.task import Setup
from utils.cmdline_helper import parse
from utils.hooks.preemption import PreemptionHook
from utils.hvd_utils import SerialCommunicator
from utils.input.batching import Batch, Input, Position, Shard
from utils.input.device_images import DeviceImages
from utils.input.staging import staged

NETWORKS = (*RESNETS, *SSDS)
PRECISIONS = {
    "float32": Precision(compute_dtype=tf.float32),
    "float16": Precision(compute_dtype=tf.float16, dynamic_loss_scale=True),
    "bfloat16": Precision(compute_dtype=tf.bfloat16),
}
TRAINING, EVALUATION, PREDICTION = "training", "evaluation", "prediction"


@dataclass(frozen=True, slots=True)
class Case:
    """A graph: a network, its precision, one of the three kinds of graph, and further flags."""

    architecture: str
    precision: str
    kind: str = TRAINING
    flags: tuple[str, ...] = ()

    @property
    def copies(self) -> int:
        """The most tensors that a step may copy to the host: a decision, and the seed of mixing."""
        return 2 if any(flag.startswith(("--mixup", "--cutmix")) for flag in self.flags) else 1

    def __str__(self) -> str:
        return "-".join((self.architecture, self.precision, self.kind, *self.flags))


HEADS = ("--distribution_focal", "--centerness")
TINY_CASES = (  # for networks with a block or two of each kind, which have the operations of the whole ones
    Case("resnet18", "float32"),
    Case("resnet18", "float16", flags=("--stochastic_depth=0.1", "--dropout=0.1", "--adaptive_clip", "--mixup=0.2")),
    Case("resnet18", "float16", flags=("--optimizer=lamb", "--accumulate_steps=2", "--layer_decay=0.9", "--cutmix=1")),
    Case("resnet18", "float32", flags=("--optimizer=lars", "--loss=focal", "--clip_norm=1", "--zero_init_residual")),
    Case("resnet18", "float16", flags=("--optimizer=adamw", "--multi_label", "--loss=bce", "--ema_decay=0.9")),
    Case("resnet50", "float16", flags=("--mixup=0.2", "--label_smoothing=0.1", "--ema_decay=0.9")),
    Case("resnet50", "bfloat16", flags=("--data_format=NCHW",)),
    Case("resnet50", "float16", flags=("--quantize",)),
    Case("resnet50", "float32", flags=("--quantize", "--use_qdq", "--per_channel_weights", "--quant_delay=9")),
    Case("resnet50", "float16", EVALUATION, ("--quantize", "--symmetric")),
    Case("resnet50", "float16", PREDICTION),
    Case("se-resnext101-32x4d", "float16", flags=("--data_format=NCHW",)),
    Case("se-resnext101-32x4d", "bfloat16", EVALUATION),
    Case("ssd320", "float16"),
    Case("ssd320", "float32", flags=("--data_format=NCHW",)),
    Case("ssd320", "float32", EVALUATION),
    Case("ssd320", "bfloat16", PREDICTION),
    Case("ssd320", "float16", flags=("--backbone=se-resnext50-32x4d",)),
    Case("ssd320", "float16", flags=("--matcher=atss", "--box_loss=ciou", "--class_loss=quality_focal")),
    Case("ssd320", "float16", flags=("--matcher=task_aligned", "--class_loss=quality_focal", *HEADS)),
    Case("ssd320", "float16", EVALUATION, ("--nms=diou", "--class_agnostic_nms")),
    Case("ssd320", "float32", PREDICTION, HEADS),
    Case("ssd320", "float32", PREDICTION, ("--nms=matrix",)),
    Case("ssd320", "float32", PREDICTION, ("--nms=soft", "--anchors_per_cell=1")),
)


def build(case: Case, batch_size: int = 2) -> tuple[tf.Graph, Any]:
    """The graph of a case and what one step of it fetches."""
    with _gpu(case):
        return _build(gpu_setup(case, batch_size), case.kind)


def _build(setup: Setup, kind: str) -> tuple[tf.Graph, Any]:
    alone = SerialCommunicator()
    built: Any
    if kind == TRAINING:
        plan = plan_training(setup.config, setup.task.data.num_examples("train"), alone.size)
        stopping = Stopping(PreemptionHook(), alone)
        built = build_train_graph(setup.task, setup.config, plan, setup.precision, alone, stopping, Position())
        return built.graph, built.fetches()
    graph = tf.Graph()
    with graph.as_default():
        data = on_device(setup.task.data.input("validation", Shard(), Position()), setup.config)
    if kind == PREDICTION:
        built = build_predict_graph(setup.task, data, alone)
    else:
        built = build_eval_graph(setup.task, data, alone)
    return graph, built.fetches()


def staging_of_device_images() -> tuple[tf.Graph, Any]:
    """Stages a batch whose images DALI left on the GPU."""
    with tf.Graph().as_default() as graph:
        with tf.device("/CPU:0"):
            references = tf.compat.v1.placeholder(tf.int64, [4, 2])
            numbers = tf.range(4)
            index = tf.cast(numbers, tf.int64)
        images = DeviceImages(GPU, 16).take(references)
        batch = Batch(images, {}, numbers, index)
        data = Input(batch=batch, initializer=tf.no_op(), wait_seconds=tf.zeros([], tf.float64))
        return graph, [staged(data, GPU).stage]


def gpu_setup(case: Case, batch_size: int = 2) -> Setup:
    """The setup of a case, as on a machine with a GPU that has all kernels."""
    mode = "training_benchmark" if case.kind == TRAINING else "inference_benchmark"
    flags = (f"--arch={case.architecture}", f"--mode={mode}", f"--batch_size={batch_size}", *case.flags)
    with _gpu(case):
        return setup_module.set_up(parse(flags, {}).config, SerialCommunicator())


@contextlib.contextmanager
def _gpu(case: Case) -> Iterator[None]:
    """Pretends that this machine has a GPU, which computes in the precision of the case."""
    with (
        mock.patch.object(session, "uses_gpu", return_value=True),
        mock.patch.object(graphs, "uses_gpu", return_value=True),
        mock.patch.object(setup_module, "uses_gpu", return_value=True),
        mock.patch.object(setup_module, "choose_precision", return_value=PRECISIONS[case.precision]),
        mock.patch.object(setup_module, "probe_grouped_convolution", return_value="native"),
    ):
        yield
