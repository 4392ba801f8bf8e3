"""Examples as the network receives them: read from the task's own input graph, with images turned into pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from runtime.data_errors import readable_data_errors
from runtime.task import Setup, TensorMap
from utils.errors import RunError
from utils.input.batching import STATUS_OK, STATUS_PADDING, Batch, Position, Shard

tf1 = tf.compat.v1
ExtraTensors = Callable[[Batch, TensorMap], TensorMap]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInput:
    """One example as the network sees it.

    Attributes:
        split: "train" or "validation".
        index: Its number in the split.
        image: The input image, with its normalization undone.
        targets: The training targets or the ground truth of evaluation, and the requested extra tensors.
        fault: The place and the fault of a bad example, whose image and targets are meaningless; or empty.
    """

    split: str
    index: int
    image: Image.Image
    targets: dict[str, np.ndarray]
    fault: str = ""


def read_network_inputs(setup: Setup, split: str, count: int, extra_tensors: ExtraTensors) -> list[NetworkInput]:
    """Reads the first examples of training or evaluation; fewer if the split has fewer.

    Args:
        setup: The run to show.
        split: "train" or "validation".
        count: Number of examples.
        extra_tensors: Computes further tensors by name, N rows each, from the batch and the task's targets.

    Raises:
        RunError: None of them can be used, or the records cannot be read.
    """
    found: list[NetworkInput] = []
    with tf.Graph().as_default(), readable_data_errors(setup.splits, lambda: "before the first step"):
        data = setup.task.data.input(split, Shard(), Position())
        step = tf1.placeholder(tf.int64, [])
        images, targets = setup.task.network.normalize(data.batch.images), data.batch.targets
        if split == "train":
            images, targets = setup.task.training.prepare(images, data.batch, step)
        fetches = {"status": data.batch.status, "index": data.batch.index, "image": images}
        fetches["targets"] = {**targets, **extra_tensors(data.batch, targets)}
        with tf1.Session(config=setup.session_config) as session:
            session.run(data.initializer)
            while len(found) < count:
                try:
                    values = session.run(fetches, {step: len(found) // data.batch.status.shape[0]})
                except tf.errors.OutOfRangeError:
                    break
                found += _rows(setup, split, values)
                if _ends(found, setup.task.data.num_examples(split)):
                    break
    found = found[:count]
    if all(example.fault for example in found):
        raise RunError(f"{found[0].fault}; none of the first {len(found)} examples of {split} can be used")
    return found


def _ends(found: list[NetworkInput], examples: int) -> bool:
    """Returns whether a second epoch has begun, so that no example is shown twice."""
    return len(found) >= examples


def _rows(setup: Setup, split: str, values: dict[str, Any]) -> list[NetworkInput]:
    preprocessing = setup.task.metadata["preprocessing"]
    pixels = values["image"] * np.float32(preprocessing["std_rgb"]) + np.float32(preprocessing["mean_rgb"])
    pixels = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    rows = []
    for place, (status, index) in enumerate(zip(values["status"].tolist(), values["index"].tolist(), strict=True)):
        if status == STATUS_PADDING:
            continue
        fault = "" if status == STATUS_OK else setup.task.data.describe_bad_example(split, index, status)
        targets = {name: array[place] for name, array in values["targets"].items()}
        image = Image.fromarray(pixels[place])
        rows.append(NetworkInput(split=split, index=index, image=image, targets=targets, fault=fault))
    return rows
