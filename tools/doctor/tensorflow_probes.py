"""Probes of TensorFlow, its devices and number formats, the COCO evaluator and DALI."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import tensorflow as tf

from model.layers.conv2d import probe_grouped_convolution
from object_detection.coco.evaluation import score
from object_detection.coco.metrics import METRICS
from runtime.devices.gpu_choice import unused_gpus
from runtime.devices.precision import Precision, choose_precision
from runtime.session import gpu_names
from tools.doctor.package_probes import DETECTIONS, GROUNDTRUTH, check_ap, gray_image
from tools.doctor.probe import Missing, ProbeResult, version_of
from tools.doctor.sessions import growing, seconds_of
from utils.config import PrecisionConfig
from utils.dali_utils import decode_corner
from utils.errors import RunError
from utils.flags.environment_variables import compiles_on_cpus
from utils.host_session import on_host
from utils.system.machine import cpu_features
from utils.system.versions import DALI_PACKAGES
from utils.text import percent

tf1 = tf.compat.v1

_GRAY, _GRAY_TOLERANCE = 128, 1.0
_BATCH, _SIDE, _CHANNELS, _REPEATS = 8, 28, 128, 5


def tensorflow() -> ProbeResult:
    """Runs a graph with a gradient in a session."""
    with tf.Graph().as_default(), tf1.Session(config=growing()) as session:
        x = tf.constant([1.0, 2.0])
        (slope,) = session.run(tf.gradients(tf.reduce_sum(x * x), x))
    if slope.tolist() != [2.0, 4.0]:
        raise RunError(f"the gradient of x² at 1 and 2 is {slope.tolist()}")
    return ProbeResult(f"{tf.__version__}, a graph with gradients ran", {"version": tf.__version__})


def gpu() -> ProbeResult:
    """Runs a matrix product on each GPU."""
    names = gpu_names()
    if not names:
        fault = unused_gpus(os.environ)
        if fault:
            raise RunError(fault)
        raise Missing("TensorFlow finds none; everything runs on the CPU")
    for number in range(len(names)):
        with tf.Graph().as_default(), tf.device(f"/GPU:{number}"), tf1.Session(config=growing()) as session:
            session.run(tf.matmul(tf.ones([256, 256]), tf.ones([256, 256])))
    return ProbeResult(f"{len(names)}: {', '.join(names)}", {"names": names})


def grouped_convolution() -> ProbeResult:
    """The kernel that grouped convolutions use on this machine."""
    kernel = probe_grouped_convolution("NHWC", tf.float32, growing())
    said = {"native": "TensorFlow's own kernels", "split": "split and concatenated, which is slower"}
    return ProbeResult(f"{said[kernel]}, forward and backward", {"kernel": kernel})


def bf16() -> ProbeResult:
    """A convolution and its gradients in bfloat16: close to float32, and its speed."""
    if choose_precision(PrecisionConfig(amp=True), gpu=False, cpu_features=cpu_features()).note and not gpu_names():
        raise Missing("this CPU has neither avx512_bf16 nor amx_bf16")
    exact, seconds_32 = _convolved(tf.float32)
    rounded, seconds_16 = _convolved(tf.bfloat16)
    error = max(float(np.linalg.norm(a - b) / np.linalg.norm(a)) for a, b in zip(exact, rounded, strict=True))
    if not error < 0.02:
        raise RunError(f"a convolution in bfloat16 is off by {percent(error)}")
    speed = seconds_32 / seconds_16
    text = f"convolution and gradients within {percent(error)} of float32, {speed:.1f} times as fast in this short test"
    return ProbeResult(text, {"relative_error": round(error, 5), "speed_over_float32": round(speed, 2)})


def amp() -> ProbeResult:
    """The effect of ``--amp`` on this machine."""
    chosen = choose_precision(PrecisionConfig(amp=True), gpu=bool(gpu_names()), cpu_features=cpu_features())
    if chosen.note:
        raise Missing(chosen.note)
    return ProbeResult(f"--amp computes in {chosen.name}{_scaling(chosen)}", {"compute_dtype": chosen.name})


def _scaling(chosen: Precision) -> str:
    return " with dynamic loss scaling" if chosen.dynamic_loss_scale else ""


def xla() -> ProbeResult:
    """Runs a graph in the session of ``--xla`` on a GPU, and checks that TensorFlow compiled it."""
    if not gpu_names() and not compiles_on_cpus(os.environ):
        return ProbeResult("--xla compiles on GPUs only; this run leaves everything to TensorFlow's own kernels")
    options = growing()
    options.graph_options.optimizer_options.global_jit_level = tf1.OptimizerOptions.ON_2
    traced, metadata = tf1.RunOptions(output_partition_graphs=True), tf1.RunMetadata()
    with tf.Graph().as_default(), tf1.Session(config=options) as session:
        x = tf1.placeholder(tf.float32, [8, 8])
        y = tf.reduce_sum(tf.tanh(tf.matmul(x, x) * 2.0 + 1.0))
        value = session.run(y, {x: np.zeros([8, 8], np.float32)}, traced, metadata)
    if abs(value - 64 * np.tanh(1.0)) > 1e-3:
        raise RunError(f"64 tanh(1) is {value}")
    operations = {node.op for graph in metadata.partition_graphs for node in graph.node}
    if not operations & {"_XlaRun", "XlaLaunch", "_XlaCompile"}:
        raise Missing("--xla has no effect: TensorFlow compiled nothing")
    return ProbeResult("--xla compiles graphs here")


def coco_evaluator() -> ProbeResult:
    """The AP of two detections, against a value worked out by hand."""
    summary = score(GROUNDTRUTH, DETECTIONS)
    found = float(summary.metrics[METRICS[0]])
    check_ap(found)
    return ProbeResult(f"AP {found:.6f} of two detections, as worked out by hand", {"ap": found})


def tflite() -> ProbeResult:
    """Converts a model to TensorFlow Lite and runs it in the interpreter."""
    with tf.Graph().as_default(), tf1.Session(config=on_host()) as session:
        x = tf1.placeholder(tf.float32, [1, 4])
        data = tf1.lite.TFLiteConverter.from_session(session, [x], [x + x]).convert()
    interpreter = tf.lite.Interpreter(model_content=data)
    _double(interpreter)
    return ProbeResult("a model converted and run", {})


def litert() -> ProbeResult:
    """Runs the same model with LiteRT's own package."""
    version = version_of("ai-edge-litert", how="only running exported TFLite models without TensorFlow needs it")
    from ai_edge_litert.interpreter import Interpreter

    with tf.Graph().as_default(), tf1.Session(config=on_host()) as session:
        x = tf1.placeholder(tf.float32, [1, 4])
        data = tf1.lite.TFLiteConverter.from_session(session, [x], [x + x]).convert()
    _double(Interpreter(model_content=data))
    return ProbeResult(f"{version}, a model run", {"version": version})


def _double(interpreter: Any) -> None:
    interpreter.allocate_tensors()
    (given,), (got,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], np.full([1, 4], 1.5, np.float32))
    interpreter.invoke()
    doubled = interpreter.get_tensor(got["index"]).tolist()
    if doubled != [[3.0] * 4]:
        raise RunError(f"1.5 + 1.5 is {doubled}")


def dali() -> ProbeResult:
    """Decodes a JPEG in a pipeline."""
    version = version_of(*DALI_PACKAGES, how="`pip install -r requirements/dali.txt` installs it; only --dali needs it")
    image = decode_corner(gray_image("JPEG"), 16, 8)
    if np.abs(image - _GRAY).max() > _GRAY_TOLERANCE:
        raise RunError(f"a gray JPEG decodes to {image.min():g} to {image.max():g}")
    return ProbeResult(f"{version}, a JPEG decoded in a pipeline on the CPU", {"version": version})


def _convolved(dtype: tf.DType) -> tuple[list[Any], float]:
    """The outputs and both gradients of a convolution as float32, and their shortest time in seconds."""
    generator = np.random.default_rng(0)
    shapes = ((_BATCH, _SIDE, _SIDE, _CHANNELS), (3, 3, _CHANNELS, _CHANNELS))
    with tf.Graph().as_default(), tf1.Session(config=growing()) as session:
        values = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
        x, k = (tf1.get_variable(name, initializer=value) for name, value in zip("xk", values, strict=True))
        y = tf.nn.conv2d(tf.cast(x, dtype), tf.cast(k, dtype), 1, "SAME")
        dx, dk = tf.gradients(tf.reduce_sum(tf.square(tf.cast(y, tf.float32))), [x, k])
        session.run(tf1.global_variables_initializer())
        results = session.run([tf.cast(y, tf.float32), dx, dk])
        step = session.make_callable([y.op, dx.op, dk.op])
        return results, min(seconds_of(step) for _ in range(_REPEATS))
