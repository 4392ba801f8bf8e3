"""Trials of single parts: grouped convolutions, the loss scale, DALI's images and all-reduce."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from model.layers.conv2d import convolve
from model.layers.options import LayerOptions
from runtime.session import on_device
from runtime.setup.set_up import set_up_alone
from tools.doctor.gpu.cards import FLOAT32, gpu_arithmetic, has_gpu, require_gpus
from tools.doctor.gpu.launches import launch, random_records
from tools.doctor.horovod_probe import HOW, launcher
from tools.doctor.probe import ProbeResult, version_of
from tools.doctor.sessions import growing
from utils.cmdline_helper import parse
from utils.errors import RunError
from utils.input.batching import Position, Shard
from utils.input.staging import BatchesAhead
from utils.optimizer_settings import OptimizerSettings
from utils.optimizer_table import OPTIMIZERS
from utils.optimizers import INITIAL_LOSS_SCALE, Descent, LossScale, build_update

tf1 = tf.compat.v1

GROUPED_TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 3e-2}
DALI_TOLERANCE = 1.0
"""Largest mean difference between DALI's images on a GPU and TensorFlow's, in grey levels."""

_ROWS = 64  # of an input of ones: a float16 gradient of 64 times the loss scale overflows above a scale of 2^9
_LARGEST_SCALE = 2.0**9
_MEGABYTES = (25, 100)
_BATCHES = 2

Array = NDArray[Any]


def grouped_convolution() -> ProbeResult:
    """A convolution in 32 groups and its gradients, beside one convolution for each group.

    Raises:
        RunError: They differ by more than the tolerance.
    """
    device = "GPU" if has_gpu() else "CPU"
    kinds = [FLOAT32] if device == "CPU" else [kind for kind in gpu_arithmetic() if not kind.tf32]
    tf.config.experimental.enable_tensor_float_32_execution(False)
    errors = {kind.name: _grouped_error(kind.dtype) for kind in kinds}
    text = ", ".join(f"{name} {error:.1e} (at most {GROUPED_TOLERANCE[name]:g})" for name, error in errors.items())
    if not all(error <= GROUPED_TOLERANCE[name] for name, error in errors.items()):
        raise RunError(f"grouped and split convolutions differ: {text}")
    return ProbeResult(f"grouped and split convolutions agree on the {device}: {text}", {"errors": errors})


def _grouped_error(dtype: Any) -> float:
    """The largest relative error of outputs and gradients."""
    generator = np.random.default_rng(0)
    values = [generator.normal(size=shape).astype(np.float32) for shape in ((4, 28, 28, 128), (3, 3, 4, 128))]
    with tf.Graph().as_default(), tf1.Session(config=growing()) as session:
        images, kernel = (tf.constant(value) for value in values)
        found = []
        for choice in ("native", "split"):
            options = LayerOptions(compute_dtype=dtype, grouped_convolution=choice, training=True)
            output = tf.cast(convolve(images, kernel, options, stride=1, groups=32), tf.float32)
            found.append([output, *tf.gradients(tf.reduce_sum(tf.square(output)), [images, kernel])])
        native, split = session.run(found)
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in zip(native, split, strict=True))


def loss_scaling() -> ProbeResult:
    """Float16 gradients that overflow: steps are skipped and the loss scale halves until they are finite.

    Raises:
        RunError: The scale, the step or the weights are not as expected.
    """
    with tf.Graph().as_default(), tf1.Session(config=growing()) as session:
        weight = tf1.get_variable("weight", [_ROWS, 1], initializer=tf1.zeros_initializer(), use_resource=True)
        step = tf1.get_variable("step", [], tf.int64, tf1.zeros_initializer(), trainable=False, use_resource=True)
        product = tf.matmul(tf.ones([_ROWS, _ROWS], tf.float16), tf.cast(weight, tf.float16))
        update = build_update(
            tf.reduce_sum(tf.cast(product, tf.float32)),
            step,
            Descent(tf.constant(1.0), OPTIMIZERS["momentum"], OptimizerSettings(momentum=0.9)),
            loss_scale=LossScale(dynamic=True),
            grouped=has_gpu(),  # as in training
        )
        session.run(tf1.global_variables_initializer())
        scales: list[float] = []
        while session.run(step) == 0 and len(scales) < np.log2(INITIAL_LOSS_SCALE):
            if np.any(session.run(weight)):
                raise RunError("a skipped step changed the weights")
            scales.append(float(session.run([update.loss_scale, update.operation])[0]))
        trained = session.run(weight)
    if scales[-1:] != [_LARGEST_SCALE] or not np.array_equal(trained, np.full([_ROWS, 1], -float(_ROWS))):
        raise RunError(f"the first update had the loss scale {scales[-1]:g} and weights from {trained.min():g}")
    skipped = len(scales) - 1
    return ProbeResult(
        f"{skipped} overflows skipped, first update with a loss scale of {scales[-1]:g}", {"scales": scales}
    )


def dali() -> ProbeResult:
    """Batches that DALI decoded on the last GPU, beside the same ones from TensorFlow.

    Raises:
        RunError: The images differ by more than the tolerance on average, or the examples differ.
    """
    require_gpus()
    last = len(tf.config.list_physical_devices("GPU")) - 1
    difference = difference_of_readers([f"--gpu_id={last}"])
    if not difference <= DALI_TOLERANCE:
        raise RunError(f"DALI's images differ by {difference:.2f} grey levels on average (at most {DALI_TOLERANCE:g})")
    return ProbeResult(
        f"differs by {difference:.2f} grey levels on average (at most {DALI_TOLERANCE:g}) on GPU {last}",
        {"difference": difference, "gpu": last},
    )


def difference_of_readers(flags: Sequence[str]) -> float:
    """The mean difference in grey levels between images read with DALI and without, each in a process of its own.

    Raises:
        RunError: A process fails, or the examples differ.
    """
    with random_records() as (records, folder):
        flags = ["--mode=train", "--arch=resnet18", f"--data_dir={records}", "--batch_size=6", "--seed=1", *flags]
        flags += ["--image_size=64", f"--results_dir={folder / 'none'}"]
        made = []
        for reader in ([], ["--dali"]):
            launch([sys.executable, "-c", _READ, str(folder / "read.npz"), *flags, *reader])
            with np.load(folder / "read.npz") as arrays:
                made.append((arrays["images"], arrays["index"]))
    (images, index), (theirs, same) = made
    if not np.array_equal(index, same):
        raise RunError("DALI and TensorFlow read different examples")
    return float(np.mean(np.abs(images - theirs)))


_READ = """
import sys, numpy
from tools.doctor.gpu.parts import batches
images, index = batches(sys.argv[2:])
numpy.savez(sys.argv[1], images=images, index=index)
"""


def batches(flags: Sequence[str]) -> tuple[Array, Array]:
    """Images and their examples of some batches, staged on the device as in a run: training, then two evaluations."""
    setup = set_up_alone(parse(list(flags), {}).config)
    made = []
    with tf.Graph().as_default(), tf1.Session(config=setup.session_config) as session:
        for split, rounds in (("train", 1), ("validation", 2)):
            data = on_device(setup.task.data.input(split, Shard(), Position()), setup.config)
            ahead = BatchesAhead(session, data)
            for _ in range(rounds):
                ahead.restart()
                for _ in range(_BATCHES):
                    ahead.wait(more=True)
                    made.append(session.run([data.batch.images, data.batch.index]))
            ahead.close()
    images, index = zip(*made, strict=True)
    return np.stack(images), np.stack(index)


def all_reduce() -> ProbeResult:
    """The speed of averaging 25 and 100 MB over all GPUs, or over two processes on the CPU."""
    count = len(tf.config.list_physical_devices("GPU"))
    if count:
        require_gpus(2)
    version_of("horovod", how=HOW)
    name, command = launcher(os.environ.get("PATH", ""), max(2, count))
    output = launch([*command, sys.executable, "-c", _AVERAGE, *map(str, _MEGABYTES)])
    facts = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    facts["gb_per_second"] = {size: float(size) / 1e3 / seconds for size, seconds in facts["seconds"].items()}
    text = ", ".join(
        f"{size} MB in {seconds * 1e3:.3g} ms ({facts['gb_per_second'][size]:.3g} GB/s)"
        for size, seconds in facts["seconds"].items()
    )
    return ProbeResult(f"{facts['processes']} processes under {name}: {text}", facts)


_AVERAGE = """
import json, os, sys, time
import tensorflow as tf
from runtime.devices.gpu_choice import take_gpu
from runtime.session import session_config
from utils.cmdline_helper import parse
from utils.hvd_utils import communicator
tf1 = tf.compat.v1
processes = communicator(os.environ)
config = parse(["--mode=training_benchmark", "--batch_size=1"], {}).config
options = session_config(config, processes, take_gpu(config, processes))
seconds = {}
for megabytes in sys.argv[1:]:
    with tf.Graph().as_default(), tf1.Session(config=options) as session:
        value = tf1.get_variable("value", [int(megabytes) * 250_000], initializer=tf1.ones_initializer())
        average = processes.average(value.read_value()).op
        session.run(value.initializer)
        times = []
        for _ in range(12):
            processes.barrier()
            began = time.perf_counter()
            session.run(average)
            times.append(time.perf_counter() - began)
        seconds[megabytes] = sorted(times)[len(times) // 2]
if processes.rank == 0:
    os.write(1, (json.dumps({"processes": processes.size, "seconds": seconds}) + "\\n").encode())
"""
