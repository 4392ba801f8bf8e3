"""The parts of a task, and the setup of a launch.

Shape symbols: N batch, H W image, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from model.specs import Part
from runtime.batch_size.search import AutoBatch
from runtime.devices.precision import Precision
from runtime.prediction.images_to_predict import FoundFiles
from runtime.training.convolutions import Convolutions
from utils.config import ExperimentConfig
from utils.hooks.beginning import Chance
from utils.image_sizes import ImageSize
from utils.images.tiles import Tile
from utils.input.batching import Batch, Input, InputOptions, Position, Shard
from utils.optimizers import WeightDecay
from utils.records.split_files import SplitFiles

TensorMap = dict[str, Any]
MergeTiles = Callable[[Sequence[Mapping[str, np.ndarray]], Sequence[Tile]], dict[str, np.ndarray]]
"""From the predictions for the tiles of a picture to those for the picture."""


class TaskData(Protocol):
    """The examples of a task."""

    def num_examples(self, split: str) -> int:
        """The number of examples of a split, "train" or "validation"."""

    def input_options(self) -> InputOptions:
        """Options for reading examples."""

    def input(self, split: str, shard: Shard, start: Position) -> Input:
        """Batches of raw images: an endless stream from ``start`` for "train", one pass for "validation"."""

    def preprocess(self, encoded: Any, size: ImageSize) -> Any:
        """Converts the bytes of an image file to a raw image [H, W, 3] in 0..255."""

    def describe_bad_example(self, split: str, index: int, status: int) -> str:
        """A sentence with the location and the fault of an example."""


class Network(Protocol):
    """From raw images to endpoints, the named tensors of a network. An artefact may replace this part."""

    def normalize(self, images: Any) -> Any:
        """Converts raw images [N, H, W, 3] in 0..255 to the network's input."""

    def forward(self, images: Any, *, training: bool) -> TensorMap:
        """The endpoints for normalized images."""

    def stored_names(self, stored: Mapping[str, Sequence[int]]) -> Mapping[str, str]:
        """The stored name of each variable of network and optimizer, given a checkpoint's names and shapes."""

    def by_zero_point(self) -> Network:
        """The same network, quantized by scale and zero point instead of scale alone.

        The levels are the same, but TensorFlow Lite converts only scale and zero point (TensorFlow 2.21).
        """

    def portable(self) -> Network:
        """The same network in operations that converters read, whatever device this machine computes on."""


class PostProcessing(Protocol):
    """From a network's endpoints to predictions and to the evaluator's inputs."""

    def portable(self) -> PostProcessing:
        """The same, as ``Network.portable``."""

    @property
    def ends(self) -> Sequence[str]:
        """The endpoints from which everything else is computed."""

    @property
    def is_costly(self) -> bool:
        """True if post-processing is expensive, like suppression; then benchmarks also time the network alone."""

    @property
    def prediction_names(self) -> Sequence[str]:
        """The names in ``predictions``."""

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        """Per-example tensors for prediction and export, by their public names."""

    def in_pictures(self, predictions: TensorMap, sizes: Any) -> TensorMap:
        """Predictions that refer to whole pictures of heights and widths [N, 2], not to the network's input."""

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        """Per-example tensors for the evaluator, N rows each; they refer to whole pictures."""

    def outputs_of(self, predictions: TensorMap, targets: TensorMap) -> TensorMap:
        """``outputs`` for an exported network that returns predictions and possibly ``ends``."""

    def class_names_of(self, predictions: TensorMap) -> Any:
        """The class names in predictions as strings; None if the classes have no names."""


class Training(Protocol):
    """From normalized images and endpoints to losses, and from another run's weights to the initial ones."""

    def prepare(self, images: Any, batch: Batch, step: Any) -> tuple[Any, TensorMap]:
        """The images [N, H, W, C] and targets of a batch, ready for the network and the losses.

        Args:
            images: The normalized images of the batch.
            batch: The batch as read.
            step: The training step, which seeds randomness.
        """

    def forward(self, images: Any, targets: TensorMap) -> TensorMap:
        """The endpoints of the network in training, for images and targets that ``prepare`` returned."""

    def losses(self, endpoints: TensorMap, targets: TensorMap, mask: Any, normalizer: Any = None) -> TensorMap:
        """The scalar losses to add up, computed over the rows whose mask is 1.

        ``normalizer`` replaces that of these rows, if they are part of a larger batch.
        """

    def normalizer(self, targets: TensorMap, mask: Any) -> Any:
        """The scalar that the losses of a batch are divided by."""

    @property
    def chance(self) -> Chance | None:
        """The loss of predictions that are the same for all images, if there is such a number."""

    def weight_decay(self, variables: Sequence[Any]) -> WeightDecay:
        """The decay of those variables that decay."""

    def part_of(self, name: str) -> Part:
        """The part of the network to which a variable belongs, by name."""

    def depth_of(self, name: str) -> int:
        """The number of groups of layers from a variable to the head, which is at 0."""

    def warm_start_map(self, stored: Mapping[str, Sequence[int]]) -> WarmStart:
        """The weights that a new run takes from another checkpoint, given its names and shapes."""


class Evaluator(Protocol):
    """Accumulates the metrics of a split in NumPy, so that several processes can merge theirs exactly."""

    def update(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds the real examples of one batch: the arrays of ``PostProcessing.outputs``, N rows each."""

    def merge(self, other: Any) -> None:
        """Adds the examples of another evaluator of the same task."""

    def result(self) -> dict[str, float]:
        """The metrics under their log keys."""

    def statistics(self) -> dict[str, Any]:
        """Further metrics, and "intervals": the ends of the 95 % intervals of metrics by log key."""

    def report(self) -> str:
        """Lines about the result to print in addition to the log; may be empty."""

    def artefacts(self) -> dict[str, bytes]:
        """Files to write beside the log, by name."""

    def details(self, *, final: bool = True) -> dict[str, Any]:
        """Details for a report as JSON; "pictures" and "examples" refer to examples by "index".

        Args:
            final: No evaluation follows; any other may leave out what would delay training.
        """


class Presenter(Protocol):
    """Formats the predictions for one image for people."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the table columns after the file name."""

    @property
    def draws(self) -> bool:
        """True if predictions can be drawn into the image."""

    def entries(self, arrays: Mapping[str, np.ndarray], size_px: tuple[int, int]) -> list[dict[str, Any]]:
        """Predictions for an image of this height and width as JSON values, the best first."""

    def rows(self, entries: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The rows of the table for an image."""

    def line(self, entries: Sequence[Mapping[str, Any]]) -> str:
        """One line for the console."""

    def picture(self, image: Any, entries: Sequence[Mapping[str, Any]]) -> Any:
        """A copy of a Pillow image with the predictions drawn in; called only if ``draws`` is true."""

    def example(self, image: Any, entry: Mapping[str, Any]) -> Any:
        """A copy of a Pillow image with an entry of "examples" from the evaluator's details drawn in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """The stored tensors that initialize variables.

    Attributes:
        sources: Stored names by variable.
        factors: Factors of the values by variable, in shapes that NumPy broadcasts.
        replaceable: Variables that may be reset to new weights on request.
        provided: Variables that the stored network can provide, if they are a part of the whole; None for all.
    """

    sources: Mapping[str, str]
    factors: Mapping[str, np.ndarray]
    replaceable: frozenset[str] = frozenset()
    provided: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The metrics of a task.

    Attributes:
        best: Log key of the metric that selects the best checkpoint; the highest value wins.
        evaluator: Function that creates a new evaluator.
    """

    best: str
    evaluator: Callable[[], Evaluator]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task, independent of the loop. Each part can be replaced separately.

    Attributes:
        data: The examples.
        network: From images to endpoints.
        post_processing: From endpoints to predictions.
        training: From endpoints to losses.
        metrics: From predictions to numbers.
        presenter: From predictions to text and pictures.
        metadata: The description of the weights: architecture, classes, preprocessing.
        merge_tiles: From predictions for tiles to those for a picture; None if predictions have no place.
    """

    data: TaskData
    network: Network
    post_processing: PostProcessing
    training: Training
    metrics: Metrics
    presenter: Presenter
    metadata: Mapping[str, Any]
    merge_tiles: MergeTiles | None = None

    def training_at(self, size: int) -> Task:
        """The task of a classifier with training images of ``size`` pixels a side."""
        data: Any = self.data
        return replace(self, data=replace(data, train_size=size))

    def portable(self) -> Task:
        """The task for export: the same on machines with and without GPUs."""
        return replace(self, network=self.network.portable(), post_processing=self.post_processing.portable())


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The complete setup of a launch.

    Attributes:
        config: The resolved configuration.
        task: The task of that configuration; ``artefact``, if any, replaces its network.
        precision: The compute types on this machine.
        session_config: Options of every session.
        seed: The effective seed: from the flag, from the checkpoint, or drawn at random.
        splits: Files by split; empty for synthetic data.
        checkpoint: Prefix of the checkpoint to start from, or None.
        metadata: The description beside the checkpoint or inside the artefact; empty without one.
        artefact: The artefact opened instead of a checkpoint, or None.
        images: The images to predict on, in that mode.
        convolutions: The choices of formulations of convolutions.
        teacher: The teacher of a training, or None.
        auto_batch: The outcome of ``--batch_size auto``, or None.
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
    images: FoundFiles | None = None
    convolutions: Convolutions = field(default_factory=Convolutions)
    teacher: Any = None
    auto_batch: AutoBatch | None = None

    @property
    def required_images(self) -> FoundFiles:
        """The images to predict on, in the mode that predicts."""
        if self.images is None:
            raise ValueError("Setup.images is None; must be set to predict")
        return self.images

    @property
    def required_checkpoint(self) -> Path:
        """The checkpoint or artefact, in the modes that require one."""
        if self.checkpoint is None:
            raise ValueError("Setup.checkpoint is None; this mode needs a checkpoint")
        return self.checkpoint
