"""A task, composed of its parts, and all that a launch is made of.

Shape symbols: N batch, H W image, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from model.specs import Part
from runtime.precision import Precision
from utils.config import ExperimentConfig
from utils.input.batching import Batch, Input, InputOptions, Position, Shard
from utils.records.manifest import SplitFiles

TensorMap = dict[str, Any]


class TaskData(Protocol):
    """The examples of a task."""

    def num_examples(self, split: str) -> int:
        """The number of examples of a split, "train" or "validation"."""

    def input_options(self) -> InputOptions:
        """The options by which examples are read."""

    def input(self, split: str, shard: Shard, start: Position) -> Input:
        """Batches of raw images: endless from ``start`` on for "train", one pass for "validation"."""

    def preprocess(self, encoded: Any, size: int) -> Any:
        """A raw image [size, size, 3] in 0..255 from the bytes of an image file."""

    def describe_bad_example(self, split: str, index: int, status: int) -> str:
        """A sentence: where an example lies and what is wrong with it."""


class Network(Protocol):
    """From raw images to endpoints, the named tensors of a network. An artefact takes this part's place."""

    def normalize(self, images: Any) -> Any:
        """The network's input from raw images [N, H, W, 3] in 0..255."""

    def forward(self, images: Any, *, training: bool) -> TensorMap:
        """Endpoints for normalized images."""

    def stored_names(self, stored: Mapping[str, Sequence[int]]) -> Mapping[str, str]:
        """The name in a checkpoint of such names and shapes for each variable of the network and of its optimizer."""

    def by_zero_point(self) -> Network:
        """The same network, quantized by scale and zero point where it is by a scale alone.

        The levels are the same; TensorFlow Lite converts the first kind only (TensorFlow 2.21).
        """


class PostProcessing(Protocol):
    """From a network's endpoints to predictions, and to what they are judged by."""

    @property
    def ends(self) -> Sequence[str]:
        """Endpoints that all else is computed from."""

    @property
    def is_costly(self) -> bool:
        """True where much is computed, suppression for one: benchmarks then time the network alone too."""

    @property
    def prediction_names(self) -> Sequence[str]:
        """Names of ``predictions``."""

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        """Per-example tensors that prediction and export give, by their public names."""

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        """Per-example tensors that the evaluator takes, N rows each."""

    def outputs_of(self, predictions: TensorMap, targets: TensorMap) -> TensorMap:
        """``outputs`` where an exported network gave the predictions, and maybe ``ends``."""

    def class_names_of(self, predictions: TensorMap) -> Any:
        """The names of the classes in predictions, strings; None where the classes have no names."""


class Training(Protocol):
    """From normalized images and endpoints to a loss, and from another run's weights to the first ones."""

    def prepare(self, images: Any, batch: Batch, step: Any) -> tuple[Any, TensorMap]:
        """Augmented images [N, H, W, C] and targets of a batch.

        Args:
            images: Those of the batch, normalized.
            batch: As it was read.
            step: Seeds randomness.
        """

    def losses(self, endpoints: TensorMap, targets: TensorMap, mask: Any) -> TensorMap:
        """Scalars to add up, over the rows whose mask is 1."""

    def weight_decay(self, variables: Sequence[Any]) -> Any:
        """The regularization loss, a scalar."""

    def part_of(self, name: str) -> Part:
        """The part of the network that a variable belongs to, by its name."""

    def warm_start_map(self, stored: Mapping[str, Sequence[int]]) -> WarmStart:
        """The weights that a new run takes from another's checkpoint, of which the names and shapes are given."""


class Evaluator(Protocol):
    """Accumulates the metrics of a split in NumPy, so that several processes can add theirs up exactly."""

    def update(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds the real examples of one batch: the arrays of ``PostProcessing.outputs``, N rows each."""

    def merge(self, other: Any) -> None:
        """Adds what another evaluator of the same task has seen."""

    def result(self) -> dict[str, float]:
        """The metrics under their log keys."""

    def report(self) -> str:
        """Lines to print of the result beside the log; may be empty."""

    def artefacts(self) -> dict[str, bytes]:
        """Files to leave beside the log, by name."""

    def details(self) -> dict[str, Any]:
        """Details beyond the metrics for a report, as JSON; "pictures" and "examples" name examples by "index"."""


class Presenter(Protocol):
    """Turns the predictions for one image into what people read."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns of the table, beside the file's name."""

    @property
    def draws(self) -> bool:
        """True where predictions can be drawn into the image."""

    def entries(self, arrays: Mapping[str, np.ndarray], size_px: tuple[int, int]) -> list[dict[str, Any]]:
        """Predictions for an image of this height and width, best first, for JSON."""

    def rows(self, entries: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The rows of the table for an image."""

    def line(self, entries: Sequence[Mapping[str, Any]]) -> str:
        """One line for the console."""

    def picture(self, image: Any, entries: Sequence[Mapping[str, Any]]) -> Any:
        """A copy of a Pillow image with the predictions drawn in; asked for only where ``draws``."""

    def example(self, image: Any, entry: Mapping[str, Any]) -> Any:
        """A copy of a Pillow image with what an evaluator's details say of it: an entry of its "examples"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """The stored tensors that variables begin with.

    Attributes:
        sources: Names in the checkpoint by variable.
        factors: What to multiply values by, by variable; shapes that NumPy broadcasts.
        replaceable: Variables that begin anew where that is asked for.
    """

    sources: Mapping[str, str]
    factors: Mapping[str, np.ndarray]
    replaceable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The judgement of a task's outputs.

    Attributes:
        best: Log key of the metric that the best checkpoint has the highest value of.
        evaluator: Makes a fresh evaluator.
    """

    best: str
    evaluator: Callable[[], Evaluator]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kind of problem, and nothing of the loop. Each part can be replaced by itself.

    Attributes:
        data: The examples.
        network: From images to endpoints.
        post_processing: From endpoints to predictions.
        training: From endpoints to losses.
        metrics: From predictions to numbers.
        presenter: From predictions to what people read.
        metadata: What must be known of the weights to use them: architecture, classes, preprocessing.
    """

    data: TaskData
    network: Network
    post_processing: PostProcessing
    training: Training
    metrics: Metrics
    presenter: Presenter
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that a launch is made of.

    Attributes:
        config: The resolved configuration.
        task: The task of that configuration, run by ``artefact`` where there is one.
        precision: The types that this machine computes in.
        session_config: Options of every session.
        seed: The seed in force: given, the checkpoint's, or drawn.
        splits: Files by split; empty for synthetic data.
        checkpoint: Prefix of the checkpoint to start from, or None.
        metadata: The JSON beside that checkpoint, or in that artefact; empty without one.
        artefact: What was opened in place of a checkpoint, or None.
    """

    config: ExperimentConfig
    task: Task
    precision: Precision
    session_config: Any
    seed: int
    splits: Mapping[str, SplitFiles]
    checkpoint: Path | None
    metadata: Mapping[str, Any]
    artefact: Any = None

    @property
    def required_checkpoint(self) -> Path:
        """The checkpoint or artefact, in the modes that ``runtime.setup`` lets begin with one only."""
        if self.checkpoint is None:
            raise ValueError("this mode begins without a checkpoint")
        return self.checkpoint
