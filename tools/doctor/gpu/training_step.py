"""One training step of a network on a device beside float32 on the CPU, and the speed of training."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from runtime.graphs import TrainGraph, build_train_graph
from runtime.planning.plan import plan_training
from runtime.setup.set_up import set_up_alone
from runtime.stopping import Stopping
from runtime.task import Setup
from tools.doctor.gpu.cards import (
    BFLOAT16,
    FLOAT32,
    Arithmetic,
    gpu_arithmetic,
    has_gpu,
    product_speed,
)
from tools.doctor.probe import ProbeResult
from utils.cmdline_helper import parse
from utils.errors import RunError
from utils.hooks.preemption import PreemptionHook
from utils.host_session import on_host
from utils.hvd_utils import SerialCommunicator
from utils.image_processing import CHANNELS
from utils.input.batching import Position
from utils.input.staging import BatchesAhead
from utils.text import percent

tf1 = tf.compat.v1

LOSS_TOLERANCE = {"float32": 1e-4, "tf32": 2e-3, "float16": 2e-3, "bfloat16": 1e-2}
_LAST_OF_BRANCH = re.compile("(basic_2|bottleneck_3|bottleneck_v1/conv3)/BatchNorm/gamma$")
_CALM = 0.1
"""Scale of each residual branch; deep networks with random weights magnify rounding errors if it is 1."""

_MOMENTUM = "/Momentum"  # after the first step, the gradient
_BATCH, _SIDE = {"GPU": 64, "CPU": 8}, {"GPU": 224, "CPU": 64}
_TIMED_STEPS = {"GPU": 20, "CPU": 2}
_FORWARD_AND_BACKWARD = 3  # operations of a training step, in forward passes

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The outcome of a first training step.

    Attributes:
        loss: The total loss.
        gradients: By variable, with the L2 penalty.
        images_per_second: Speed of later steps; 0 if they were not timed.
        flops: Floating-point operations of a forward pass of one image.
    """

    loss: float
    gradients: Mapping[str, Array]
    images_per_second: float = 0.0
    flops: int = 0


def network(name: str) -> ProbeResult:
    """A training step of the network in each type of number, beside float32 on the CPU.

    Raises:
        RunError: A loss or the gradients differ by more than the tolerance.
    """
    device = "GPU" if has_gpu() else "CPU"
    size = 320 if name == "ssd320" and device == "GPU" else 128 if name == "ssd320" else _SIDE[device]
    exact = first_step(name, FLOAT32, device="CPU", batch=_BATCH[device], size=size)
    rows = {}
    for kind in gpu_arithmetic() if device == "GPU" else (BFLOAT16,):
        found = first_step(name, kind, device=device, batch=_BATCH[device], size=size, timed=_TIMED_STEPS[device])
        rows[kind.name] = _compared(found, exact, kind, device)
    broken = {kind: row for kind, row in rows.items() if not row["within"]}
    text = "; ".join(_phrase(kind, row) for kind, row in (broken or rows).items())
    if broken:
        raise RunError(f"a training step differs from float32 on the CPU: {text}")
    return ProbeResult(f"on the {device}: {text}", {"device": device, "batch": _BATCH[device], "steps": rows})


def _compared(found: Step, exact: Step, kind: Arithmetic, device: str) -> dict[str, Any]:
    loss_error = abs(found.loss - exact.loss) / abs(exact.loss)
    error = relative_error(found.gradients, exact.gradients)
    needed = _FORWARD_AND_BACKWARD * found.flops * found.images_per_second
    return {
        "within": bool(loss_error <= LOSS_TOLERANCE[kind.name] and error <= kind.tolerance),  # false for NaN
        "loss_error": loss_error,
        "loss_tolerance": LOSS_TOLERANCE[kind.name],
        "gradient_error": error,
        "gradient_tolerance": kind.tolerance,
        "images_per_second": round(found.images_per_second, 1),
        "share_of_matrix_peak": round(needed / product_speed(kind, device), 3),
    }


def _phrase(kind: str, row: Mapping[str, Any]) -> str:
    return (
        f"{kind} loss off by {row['loss_error']:.1e} (at most {row['loss_tolerance']:g}), gradients by "
        f"{row['gradient_error']:.1e} (at most {row['gradient_tolerance']:g}); "
        f"{row['images_per_second']:.4g} images/s, "
        f"{percent(row['share_of_matrix_peak'])} of the peak"
    )


def relative_error(found: Mapping[str, Array], exact: Mapping[str, Array]) -> float:
    """The norm of the difference of all gradients, divided by the norm of the exact ones.

    Raises:
        RunError: The two do not have the same variables.
    """
    if found.keys() != exact.keys() or not exact:
        raise RunError("the two graphs train different variables")
    off = sum(float(np.sum(np.square(found[name] - exact[name], dtype=np.float64))) for name in exact)
    whole = sum(float(np.sum(np.square(value, dtype=np.float64))) for value in exact.values())
    return float(np.sqrt(off / whole))


def first_step(name: str, kind: Arithmetic, *, device: str, batch: int, size: int, timed: int = 0) -> Step:
    """Runs the first training step on random images, and times ``timed`` more."""
    flags = [f"--arch={name}", f"--batch_size={batch}", f"--image_size={size}", *kind.flags]
    with training_graph(flags) as (setup, graph), graph.graph.as_default():
        calm = [v.assign(tf.fill(v.shape, _CALM)) for v in graph.variables if _LAST_OF_BRANCH.search(v.op.name)]
        tf.config.experimental.enable_tensor_float_32_execution(kind.tf32)
        # Without its GPU, the graph of a machine with one needs soft placement.
        options = on_host(allow_soft_placement=True) if device == "CPU" else setup.session_config
        with tf1.Session(graph=graph.graph, config=options) as session, stepping(session, graph) as step:
            session.run(calm)
            loss = float(step(_varied_images(batch, size))["total_loss"])
            slots = {v.op.name: v for v in graph.variables if v.op.name.endswith(_MOMENTUM)}
            gradients = session.run(slots)
            step()
            started = time.perf_counter()
            for _ in range(timed):
                step()
            seconds = time.perf_counter() - started
    return Step(
        loss=loss,
        gradients=gradients,
        images_per_second=timed * batch / seconds if timed else 0.0,
        flops=graph.size.flops,
    )


@contextmanager
def stepping(session: Any, graph: TrainGraph) -> Iterator[Callable[..., Mapping[str, Any]]]:
    """A function that runs the next step of training from new weights, on its own batch or on the images given.

    Batches are staged ahead if the graph does so.
    """
    session.run(graph.initializer)
    ahead = BatchesAhead(session, graph.input)
    ahead.restart()

    def step(images: Array | None = None) -> Mapping[str, Any]:
        ahead.wait(more=True)
        fed = {} if images is None else {graph.input.batch.images: images}
        fetched: Mapping[str, Any] = session.run(graph.fetches(), fed)
        return fetched

    try:
        yield step
    finally:
        ahead.close()


def _varied_images(batch: int, size: int) -> Array:
    """Blurred random patches [N, size, size, 3] in 0..255, unlike one another.

    Batch normalization of noise, whose means are all alike, would magnify rounding errors.
    """
    coarse = np.random.default_rng(0).uniform(0, 255, (batch, 4, 4, CHANNELS)).astype(np.float32)
    return np.kron(coarse, np.ones((1, size // 4, size // 4, 1), np.float32))


@contextmanager
def training_graph(flags: list[str]) -> Iterator[tuple[Setup, TrainGraph]]:
    """The graph of a training benchmark on random images, as ``main.py`` builds it."""
    with tempfile.TemporaryDirectory() as folder:
        length = ["--num_iter=1000", "--iter_unit=batch", "--warmup_steps=1", "--lr_warmup_epochs=0", "--seed=1"]
        head = "--head_init=original"  # with zeros, only the head would have a gradient in the first step
        config = parse(["--mode=training_benchmark", f"--results_dir={folder}", head, *length, *flags], {}).config
        setup = set_up_alone(config)
        plan = plan_training(setup.config, setup.task.data.num_examples("train"), 1)
        stopping = Stopping(PreemptionHook(), SerialCommunicator())
        yield (
            setup,
            build_train_graph(
                setup.task, setup.config, plan, setup.precision, SerialCommunicator(), stopping, Position()
            ),
        )
