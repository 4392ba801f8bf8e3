"""Logs and evaluations of made-up runs, in the format of real ones, for the tests of reports."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from object_detection.coco.details import details as box_details
from object_detection.coco.intervals import per_image
from object_detection.coco.metrics import score_arrays
from object_detection.coco.tables import Comparison, from_json
from runtime.classification.evaluation import ClassificationEvaluator
from runtime.classification.several_labels_evaluation import SeveralLabelsEvaluator
from utils.dllogger_utils import PARAMETER, SUMMARY, open_log
from utils.reporting.evaluation_file import histogram, write_evaluation

PARAMETERS = {"arch": "resnet50", "mode": "train_and_evaluate", "data_dir": "/data", "batch_size": 8, "lr_init": 0.1}
ODD_NAMES = ('<b>bold</b> & "quoted"', "日本語の名前", "$x^2$ \\alpha", "nul\x00 and\nline", "n" * 500)


def write_log(folder: Path, steps: int = 40, every: int = 10, ended: bool = True, **parameters: Any) -> Path:
    """A training log with an evaluation in the middle and, unless the run was killed, one at the end."""
    log = open_log(folder / "log.json", None)
    log.log(PARAMETER, {**PARAMETERS, "results_dir": str(folder), **parameters})
    for step in range(every, steps + 1, every):
        loss = {"cross_entropy": 2.5 / step, "l2_loss": 0.5, "total_loss": 0.5 + 2.5 / step}
        speed = {"imgs_per_sec": 20.0 + step, "input_wait_share": 0.25}
        log.log((step // 20, step), {**speed, **loss, "learning_rate": 0.1 - step / 1000})
        if step == steps // 2:
            log.log((1, step), {"top1_accuracy": 0.4375, "top5_accuracy": 0.875, "loss": 1.25, "images": 64})
    if ended:
        metrics = {"top1_accuracy": 0.59375, "top5_accuracy": 0.9375, "loss": 1.125, "images": 64}
        log.log((2, steps), metrics)
        log.log(SUMMARY, {"precision": "float32", **metrics, "train_throughput": 41.5, "input_wait_share": 0.0625})
    log.close()
    return folder


def answers(classes: int, examples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits [N, K] and labels [N] of a network that is often right and often confuses class 1 with class 0."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, examples)
    logits = rng.normal(size=(examples, classes))
    logits[np.arange(examples), labels] += 3.5
    if classes > 1:
        logits[labels == 1, 0] += 4.0
    return logits, labels


def write_classes(folder: Path, classes: int, examples: int = 400, names: Any = "numbered", seed: int = 0) -> dict:
    """Writes the evaluation of a classifier with single-color pictures; returns its content."""
    evaluator = ClassificationEvaluator(5)
    logits, labels = answers(classes, examples, seed)
    evaluator.update({"logits": logits, "labels": labels, "index": np.arange(examples)})
    content = {
        "weights": "run/model.ckpt-40",
        "step": 40,
        "metrics": evaluator.result(),
        "latency_ms": histogram(np.random.default_rng(1).gamma(9.0, 3.0, 200).tolist()),
        "class_names": [f"class {n}" for n in range(classes)] if names == "numbered" else names,
        **evaluator.details(),
    }
    for entry in content["pictures"]:
        entry["jpeg"] = jpeg((entry["index"] * 37 % 256, 90, 160))
    write_evaluation(folder, content)
    return content


def write_several(folder: Path, classes: int = 3, examples: int = 60, noise: float = 1.0, seed: int = 0) -> dict:
    """Writes the evaluation of a classifier of images with several labels; returns its content.

    Labels follow from ``seed``, errors from ``noise``.
    """
    rng = np.random.default_rng(seed)
    truth = rng.random((examples, classes)) < 0.4
    logits = 4.0 * truth - 2.0 + noise * rng.normal(size=truth.shape)
    evaluator = SeveralLabelsEvaluator()
    evaluator.update({"logits": logits, "labels": truth.astype(np.float32), "index": np.arange(examples)})
    content = {
        "weights": "run/model.ckpt-40",
        "step": 40,
        "metrics": evaluator.result(),
        "latency_ms": histogram([30.0, 31.0, 50.0]),
        "class_names": [f"class {n}" for n in range(classes)],
        **evaluator.details(),
    }
    for entry in content["pictures"]:
        entry["jpeg"] = jpeg((entry["index"] * 37 % 256, 90, 160))
    write_evaluation(folder, content)
    return content


def jpeg(color: tuple[int, int, int], size: tuple[int, int] = (96, 64)) -> str:
    """A small picture in base64."""
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "JPEG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def comparison(images: int = 12, categories: int = 3, seed: int = 0) -> Comparison:
    """Objects and detections in images of 200 x 100 pixels: most correct, some of another category, some on nothing."""
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(1, images + 1):
        for place in range(3):
            box = [10 + 60 * place, 20 + int(rng.integers(0, 20)), 40, 40]
            category = int(rng.integers(1, categories + 1))
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": category, "bbox": box})
            fate = rng.uniform()
            found = category if fate < 0.7 else category % categories + 1
            if fate < 0.85:
                score = float(rng.uniform(0.5, 1.0))
                results.append({"image_id": image, "category_id": found, "bbox": box, "score": score})
        if rng.uniform() < 0.4:
            results.append({"image_id": image, "category_id": 1, "bbox": [80, 70, 100, 28], "score": 0.9})
    return from_json(
        {
            "images": [{"id": image, "width": 200, "height": 100} for image in range(1, images + 1)],
            "annotations": annotations,
            "categories": [{"id": n, "name": f"thing {n}"} for n in range(1, categories + 1)],
        },
        results,
    )


def write_boxes(folder: Path, tables: Comparison, names: dict[int, str] | None = None) -> dict:
    """Writes the evaluation of a detector; returns its content."""
    summary = score_arrays(tables.groundtruth, tables.results, list(tables.categories))
    indices = {image: row for row, image in enumerate(tables.image_ids.tolist())}
    content = {
        "weights": "run/model.ckpt-40",
        "step": 40,
        "metrics": {**summary.metrics, "images": len(indices)},
        "latency_ms": histogram([30.0, 31.0, 50.0]),
        "findings": [],
        "per_image": per_image(tables, summary),
        **box_details(tables, summary, indices),
    }
    for row in content["classes"]:
        row["name"] = (names or {}).get(row["id"], row["name"])
    for entry in content["pictures"] + content["error_pictures"]:
        entry["jpeg"] = jpeg((entry["index"] * 20 % 256, 120, 90), (200, 100))
    write_evaluation(folder, content)
    return content
