"""Contestants that run an exported network without this program: ONNX Runtime and OpenVINO (no TF)."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from tools.measure.compare.protocol import serve
from utils.system.telemetry import refuse_telemetry


def main() -> None:
    """Runs the contestant that the command line describes in JSON; its "entry" names a function below."""
    description = json.loads(sys.argv[1])
    globals()[description.pop("entry")](**description)


def noise(batch: int, image_size: int) -> np.ndarray:
    """Raw images [N, H, W, 3] in 0..255."""
    return np.random.default_rng(0).uniform(0, 255, (batch, image_size, image_size, 3)).astype(np.float32)


def onnx_runtime(path: str, batch: int, image_size: int, threads: int) -> None:
    """ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images, (taken,) = noise(batch, image_size), session.get_inputs()
    found: list[Any] = []

    def work(steps: int) -> None:
        for _ in range(steps):
            found[:] = session.run(["logits"], {taken.name: images})

    work(1)
    facts = {"version": f"ONNX Runtime {onnxruntime.__version__}", "precision": "float32"}
    serve(work, facts | {"output": list(found[0].shape)})


def openvino(path: str, batch: int, image_size: int, threads: int, precision: str) -> None:
    """OpenVINO on the CPU, with inputs and outputs shared and not copied."""
    refuse_telemetry()
    import openvino

    core = openvino.Core()
    model, images = core.read_model(path), noise(batch, image_size)
    model.reshape(list(images.shape))
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
    }
    request = core.compile_model(model, "CPU", options).create_infer_request()
    found: list[Any] = []

    def work(steps: int) -> None:
        for _ in range(steps):
            found[:] = [request.infer(images, share_inputs=True, share_outputs=True)["logits"]]

    work(1)
    facts = {"version": f"OpenVINO {openvino.__version__.partition('-')[0]}", "precision": precision}
    serve(work, facts | {"output": list(found[0].shape)})
