"""Probes of the machine, NumPy, Pillow, google-crc32c, pycocotools, ONNX and OpenVINO (no TF)."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import sys
from pathlib import Path
from typing import Any

from tools.doctor.probe import Missing, ProbeResult, version_of
from utils.errors import RunError
from utils.system.machine import SPEED_FEATURES, cpu_features, cpu_name, disk_free_gb, memory_gb, uses_onednn
from utils.system.telemetry import refuse_telemetry
from utils.system.versions import versions

LEAST_FREE_GB = 1.0
_REQUIREMENTS = "`pip install -r requirements.txt` installs it"

# One image with two objects. The second-best detection finds one of them; the best detection overlaps neither. So the
# precision is 1/2 up to recall 1/2, that is at 51 of the 101 recall levels, and 0 beyond.
GROUNDTRUTH: dict[str, Any] = {
    "images": [{"id": 1, "height": 100, "width": 100, "file_name": "1.jpg"}],
    "categories": [{"id": 1, "name": "thing"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [60, 60, 20, 20], "area": 400, "iscrowd": 0},
    ],
}
DETECTIONS = [
    {"image_id": 1, "category_id": 1, "bbox": [35, 35, 20, 20], "score": 0.9},
    {"image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "score": 0.8},
]
EXPECTED_AP = 51 / 101 / 2

CHECK_VALUE = 0xE3069283  # of CRC-32C, in catalogues of CRCs


def check_ap(found: float) -> None:
    """Checks the AP that an evaluator found for ``DETECTIONS``.

    Raises:
        RunError: It is not ``EXPECTED_AP``.
    """
    if abs(found - EXPECTED_AP) > 1e-9:
        raise RunError(f"finds AP {found:.6f} for two detections; the correct AP is {EXPECTED_AP:.6f}")


def python() -> ProbeResult:
    """This interpreter and this version of the project."""
    found = versions()
    commit = found["git_commit"] or "not a clone"
    facts = {"version": platform.python_version(), "executable": sys.executable, "git_commit": found["git_commit"]}
    return ProbeResult(f"{platform.python_version()} on {platform.platform()}, commit {commit[:12]}", facts)


def cpu() -> ProbeResult:
    """The processor, and its instruction sets that matter for speed."""
    has = cpu_features()
    fast = [name for name in SPEED_FEATURES if name in has]
    count, onednn = len(os.sched_getaffinity(0)), uses_onednn(os.environ)
    words = f"{cpu_name()}, {count} usable; {' '.join(fast) or 'no vector instructions known'}"
    text = f"{words}; oneDNN {'on' if onednn else 'off'}"
    return ProbeResult(text, {"model": cpu_name(), "count": count, "features": fast, "onednn": onednn})


def memory() -> ProbeResult:
    """Free memory; too little is a fault."""
    known = memory_gb()
    if known is None:
        raise Missing("this system does not report its memory")
    total, free = known
    _check_room(free)
    return ProbeResult(f"{free:.1f} GB free of {total:.1f}", {"total_gb": round(total, 1), "free_gb": round(free, 1)})


def disk() -> ProbeResult:
    """Free disk space in the current folder, where a run without ``--results_dir`` writes; too little is a fault."""
    folder = Path(os.environ.get("PWD", "."))
    free = disk_free_gb(folder)
    if free is None:
        raise Missing(f"this system does not report the free space of {folder}")
    _check_room(free)
    return ProbeResult(f"{free:.1f} GB free for {folder}", {"free_gb": round(free, 1), "folder": str(folder)})


def _check_room(free_gb: float) -> None:
    if free_gb < LEAST_FREE_GB:
        raise RunError(f"{free_gb:.2f} GB free; a run needs {LEAST_FREE_GB:g}")


def numpy() -> ProbeResult:
    """A matrix product."""
    import numpy as np

    square = np.arange(16.0).reshape(4, 4)
    if not np.array_equal(square @ np.eye(4), square):
        raise RunError("a matrix times the identity differs from the matrix")
    return ProbeResult(np.__version__, {"version": np.__version__})


def pillow() -> ProbeResult:
    """Writes and reads a JPEG and a PNG."""
    version = version_of("pillow", how=_REQUIREMENTS)
    from PIL import Image

    for kind in ("JPEG", "PNG"):
        with Image.open(io.BytesIO(gray_image(kind))) as image:
            image.load()
            if image.getpixel((3, 3)) != (128, 128, 128):
                raise RunError(f"a gray {kind} reads as {image.getpixel((3, 3))}")
    return ProbeResult(f"{version}, JPEG and PNG written and read", {"version": version})


def gray_image(kind: str, side: int = 16) -> bytes:
    """A gray square as the bytes of an image file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (128, 128, 128)).save(buffer, kind)
    return buffer.getvalue()


def crc32c() -> ProbeResult:
    """The checksum of nine digits, from compiled code: Python's own takes a second for some megabytes."""
    version = version_of("google-crc32c", how=_REQUIREMENTS)
    import google_crc32c

    found = google_crc32c.value(b"123456789")
    if found != CHECK_VALUE:
        raise RunError(f"the CRC-32C of 123456789 is {found:#x}; the correct one is {CHECK_VALUE:#x}")
    if google_crc32c.implementation != "c":
        raise RunError(f"{version} has no compiled code, so that records are checked and written very slowly")
    return ProbeResult(f"{version}, a checksum correct", {"version": version})


def pycocotools() -> ProbeResult:
    """COCOeval on two detections, and the area of a mask."""
    version = version_of("pycocotools", how=_REQUIREMENTS)
    import numpy as np
    from pycocotools import mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = GROUNDTRUTH
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(DETECTIONS), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    check_ap(float(evaluation.stats[0]))
    drawn = np.asfortranarray(np.eye(4, dtype=np.uint8))
    if int(mask.area(mask.encode(drawn))) != 4:
        raise RunError("the area of a 4-pixel mask is not 4")
    return ProbeResult(f"{version}, AP and masks correct", {"version": version})


def onnx() -> ProbeResult:
    """Makes and checks a model."""
    version = version_of("onnx", how="only exporting to ONNX needs it")
    import onnx

    onnx.checker.check_model(_onnx_model())
    return ProbeResult(f"{version}, a model made and checked", {"version": version})


def onnxruntime() -> ProbeResult:
    """Runs a model."""
    version = version_of("onnxruntime", "onnxruntime-gpu", how="only running exported ONNX models needs it")
    version_of("onnx", how="onnx makes the model to try onnxruntime with")
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(_onnx_model().SerializeToString(), providers=["CPUExecutionProvider"])
    (doubled,) = session.run(None, {"x": np.array([1.5], np.float32)})
    if doubled.tolist() != [3.0]:
        raise RunError(f"1.5 + 1.5 is {doubled.tolist()}")
    return ProbeResult(
        f"{version}, a model run", {"version": version, "providers": onnxruntime.get_available_providers()}
    )


def openvino() -> ProbeResult:
    """Runs a model."""
    version = version_of("openvino", how="only exporting to OpenVINO and running such models needs it")
    refuse_telemetry()
    import numpy as np
    from openvino import Core, Model, opset13

    x = opset13.parameter([1], np.float32)
    compiled = Core().compile_model(Model([opset13.add(x, x)], [x]), "CPU")
    doubled = compiled(np.array([1.5], np.float32))[0].tolist()
    if doubled != [3.0]:
        raise RunError(f"1.5 + 1.5 is {doubled}")
    return ProbeResult(f"{version}, a model run", {"version": version})


def _onnx_model() -> Any:
    """A model that adds its input to itself, in a format version that all recent onnxruntime releases read."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubled", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
