"""A checkpoint on its way into formats: all that the function that writes a format may ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from runtime.artefacts.calibration import batches, calibration_images
from runtime.artefacts.formats import Format, GraphKind
from runtime.artefacts.inference_graph import InferenceGraph, InputSpec, inference_graph, read_weights
from runtime.task import Setup
from utils.config import resolved
from utils.errors import RunError

Images = Callable[[], Iterable[np.ndarray]]
"""Batches of raw images, from the first one on at each call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The artefacts that are wanted, and how they are judged.

    Attributes:
        formats: Rows of ``FORMATS``.
        folder: Where artefacts and report go.
        output_file: Where the frozen graph goes instead.
        batch_size: Images that the artefacts take, or None for any number.
        layout: Of their input.
        calibration_images: How many set the ranges of int8.
        validation_images: How many are compared.
        max_drift: In place of each format's own, or None.
        max_metric_drop: In place of each format's own, or None.
        opset: Of ONNX; None for the usual one.
        text: Whether a frozen graph is written as text too.
    """

    formats: tuple[str, ...]
    folder: Path
    output_file: Path | None = None
    batch_size: int | None = None
    layout: str = "NHWC"
    calibration_images: int = 100
    validation_images: int = 64
    max_drift: float | None = None
    max_metric_drop: float | None = None
    opset: int | None = None
    text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The facts of an artefact for the report, beside its comparison, and the fault that makes it fail, if any."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None


class ExportJob:
    """The graphs that formats are made of, built from one checkpoint, and the images that set ranges.

    Args:
        setup: The network, and the validation images to compare on.
        calibration: The same, its validation images being those that set the ranges of int8; None without data.
        options: What is wanted.
        graphs: Kinds of graph that are needed.

    Raises:
        RunError: The checkpoint does not fit, is damaged, or holds numbers that are not finite.
    """

    def __init__(
        self, setup: Setup, calibration: Setup | None, options: ExportOptions, graphs: Collection[GraphKind]
    ) -> None:
        self.setup = setup
        self.prefix = setup.required_checkpoint
        self.options = options
        self._calibration = calibration
        self._spec = InputSpec(
            image_size=resolved(setup.config.model, "image_size"), batch_size=options.batch_size, layout=options.layout
        )
        self._graphs = self._build(read_weights(setup, self.prefix), graphs)

    def _build(
        self, weights: Mapping[str, np.ndarray], kinds: Collection[GraphKind]
    ) -> dict[GraphKind, InferenceGraph]:
        task = self.setup.task
        graphs: dict[GraphKind, InferenceGraph] = {}
        if "as_trained" in kinds or (kinds and not self.quantized):
            graphs = dict.fromkeys(kinds, inference_graph(task, weights, self._spec))
        if "by_zero_point" in kinds and self.quantized:
            by_zero_point = dataclasses.replace(task, network=task.network.by_zero_point())
            graphs["by_zero_point"] = inference_graph(by_zero_point, weights, self._spec)
        return graphs

    @property
    def quantized(self) -> bool:
        """True where the network was trained with quantization."""
        return self.setup.config.model.quantization is not None

    def graph(self, row: Format) -> InferenceGraph:
        """The graph that a format is made of.

        "as_trained" computes what the checkpoint's network does; "by_zero_point" too, but where training quantized by a
        scale alone it quantizes by scale and zero point, the only kind that some converters read.
        """
        if row.graph is None:
            raise ValueError(f"{row.name} is made of no graph")
        return self._graphs[row.graph]

    def ranges(self, row: Format) -> Images | None:
        """The images that set the ranges of a format; None where nothing is quantized or training set them.

        Raises:
            RunError: Too few can be read.
        """
        if not row.calibrated or self.quantized or self._calibration is None:
            return None
        images = calibration_images(self._calibration, self.options.calibration_images)
        batch = self.options.batch_size or 1
        if len(images) < batch:
            raise RunError(f"--calibration_images: {len(images)} images could be read; a batch needs {batch}")
        return lambda: batches(images, batch, self._spec.shape)
