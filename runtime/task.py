"""What differs between tasks, the graphs that any task becomes, and what a launch is made of.

Shape symbols: N batch, H W image, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from runtime.precision import Precision
from utils.config import ExperimentConfig
from utils.hooks.logs import HISTOGRAMS
from utils.input.batching import Batch, Input, InputOptions, Position, Shard
from utils.records.manifest import SplitFiles
from utils.weights.checkpoint_contents import Names, by_name

TensorMap = dict[str, Any]
Part = Literal["backbone", "pyramid", "head"]


class Evaluator(Protocol):
    """Accumulates the metrics of a split in NumPy, so that several processes can add theirs up exactly."""

    def update(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds the real examples of one batch: the arrays of ``Task.outputs`` and targets, N rows each."""

    def merge(self, other: Any) -> None:
        """Adds what another evaluator of the same task has seen."""

    def result(self) -> dict[str, float]:
        """The metrics under their log keys."""

    def report(self) -> str:
        """What is to be printed of the result beside the log; may be empty."""

    def artefacts(self) -> dict[str, bytes]:
        """Files to leave beside the log, by name."""

    def details(self) -> dict[str, Any]:
        """What a report shows beyond the metrics, as JSON; "pictures" and "examples" name examples by "index"."""


class Task(Protocol):
    """A kind of problem: its data, network, losses and metrics, and nothing of the loop."""

    metric: str
    """Log key of the metric that the best checkpoint has the highest value of."""
    num_classes: int
    """Number of logits, K."""
    heads: Sequence[str]
    """Endpoints where the network ends, if ``outputs`` computes much from them: benchmarks tell the two apart."""
    ends: Sequence[str]
    """Endpoints that all of ``outputs`` and ``predictions`` can be computed from."""
    prediction_names: Sequence[str]
    """Names of ``predictions``."""

    def num_examples(self, split: str) -> int:
        """Examples of a split, "train" or "validation"."""

    def input_options(self) -> InputOptions:
        """How examples of this task are read."""

    def input(self, split: str, shard: Shard, start: Position) -> Input:
        """Batches of raw images: endless from ``start`` on for "train", one pass for "validation"."""

    def describe_bad_example(self, split: str, index: int, status: int) -> str:
        """Where an example lies and what is wrong with it."""

    def prepare(self, batch: Batch, step: Any) -> tuple[Any, TensorMap]:
        """Normalized, augmented images [N, H, W, C] and training targets of a batch; ``step`` seeds randomness."""

    def forward(self, images: Any, *, training: bool) -> TensorMap:
        """Endpoints of the network for normalized images."""

    def normalize(self, images: Any) -> Any:
        """Network input from raw images [N, H, W, 3] in 0..255."""

    def losses(self, endpoints: TensorMap, targets: TensorMap, mask: Any) -> TensorMap:
        """Scalars to add up, over the rows whose mask is 1."""

    def part_of(self, name: str) -> Part:
        """The part of the network that a variable belongs to, by its name."""

    def weight_decay(self, variables: Sequence[Any]) -> Any:
        """The regularization loss, a scalar."""

    def outputs(self, endpoints: TensorMap, targets: TensorMap) -> TensorMap:
        """Per-example tensors that the evaluator takes, N rows each."""

    def predictions(self, endpoints: TensorMap) -> TensorMap:
        """Per-example tensors that prediction and export give, by their public names."""

    def class_names_of(self, predictions: TensorMap) -> Any:
        """The names of the classes in those tensors, strings; None where the classes have no names."""

    def endpoints_of(self, ends: TensorMap) -> TensorMap:
        """What ``outputs`` and ``predictions`` need, from the endpoints ``ends`` alone."""

    def outputs_of(self, found: TensorMap, targets: TensorMap) -> TensorMap:
        """``outputs`` from what an exported network gave: the predictions, and maybe ``ends``."""

    def preprocess(self, encoded: Any, size: int) -> Any:
        """A raw image [size, size, 3] in 0..255 from the bytes of an image file."""

    def presenter(self) -> Presenter:
        """What prediction makes of those tensors."""

    def stored_names(self, stored: Mapping[str, Sequence[int]]) -> Mapping[str, str]:
        """The name in a checkpoint of such names and shapes for each variable of the network and of its optimizer."""

    def warm_start_map(self, stored: Mapping[str, Sequence[int]]) -> WarmStart:
        """Which weights a new run takes from another's checkpoint, of which the names and shapes are given."""

    def with_fake_quant(self) -> Any:
        """The same task, its network quantized by scale and zero point where it is by a scale alone.

        The levels are the same; TensorFlow Lite converts the first kind only (TensorFlow 2.21).
        """

    def evaluator(self) -> Evaluator:
        """A fresh evaluator."""

    def metadata(self) -> dict[str, Any]:
        """What must be known of the weights to use them: architecture, classes, preprocessing."""


class Presenter(Protocol):
    """Turns the predictions for one image into what people read."""

    columns: Sequence[str]
    """Names of the columns of the table, beside the file's name."""
    draws: bool
    """Whether predictions can be drawn into the image."""

    def entries(self, arrays: Mapping[str, np.ndarray], size_px: tuple[int, int]) -> list[dict[str, Any]]:
        """What was predicted for an image of this height and width, best first, for JSON."""

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
    """Which stored tensor each variable begins with.

    Attributes:
        sources: Names in the checkpoint by variable.
        factors: What to multiply values by, by variable; shapes that NumPy broadcasts.
        replaceable: Variables that begin anew where that is asked for.
    """

    sources: Mapping[str, str]
    factors: Mapping[str, np.ndarray]
    replaceable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything that a launch is made of.

    Attributes:
        config: The resolved configuration.
        task: The task of that configuration.
        precision: What mixed precision means here.
        session_config: Options of every session.
        seed: The seed in force: given, the checkpoint's, or drawn.
        splits: Files by split; empty for synthetic data.
        checkpoint: Prefix of the checkpoint to start from, or None.
        metadata: The JSON beside that checkpoint, or in that artefact; empty without one.
        artefact: What was opened in place of a checkpoint, and the task runs; or None.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainGraph:
    """A training graph. Fetching ``step`` performs one update and reads the step after it.

    ``take_over`` gives all processes rank 0's variables; ``votes`` are what they tell each other in a step;
    ``begin_averages`` makes moving averages equal their variables, by the average's name; ``histograms``, if any, are a
    serialized summary, empty after most steps.
    """

    graph: Any
    step: Any
    global_step: Any
    scalars: TensorMap
    votes: TensorMap
    input: Input
    initializer: Any
    take_over: Any
    begin_averages: TensorMap
    finite: TensorMap
    variables: tuple[Any, ...]
    saver: Any
    histograms: Any = None

    def fetches(self) -> TensorMap:
        """What the loop runs for one batch."""
        shown = {} if self.histograms is None else {HISTOGRAMS: self.histograms}
        return {"step": self.step, **_accounting(self.input), **self.votes, **self.scalars, **shown}


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalGraph:
    """A graph that compares the network's outputs with targets, batch by batch.

    ``take_over`` gives all processes rank 0's variables; ``stored_names`` is the task's. ``endpoints`` are those of the
    network.
    ``network`` is the sum of the task's heads, for which all of the network is computed, or None where it has none. A
    sum, since what no value depends on is left out of a graph before it runs.
    """

    graph: Any
    endpoints: TensorMap
    outputs: TensorMap
    network: Any
    input: Input
    variables: tuple[Any, ...]
    initializer: Any
    take_over: Any
    saver: Any
    stored_names: Names = by_name

    def fetches(self) -> TensorMap:
        """What the loop runs for one batch."""
        return {**_accounting(self.input), **self.outputs}


@dataclass(frozen=True, slots=True)
class NetworkAlone:
    """An evaluation graph as benchmarks of the network alone run it: nothing is computed from its heads."""

    whole: EvalGraph

    def fetches(self) -> TensorMap:
        """What the loop runs for one batch."""
        return {**_accounting(self.whole.input), "network": self.whole.network}


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictGraph:
    """A graph from raw images [N, H, W, 3] in 0..255 to predictions, for files and for export."""

    graph: Any
    images: Any
    endpoints: TensorMap
    predictions: TensorMap
    input: Input | None
    variables: tuple[Any, ...]
    initializer: Any
    saver: Any
    stored_names: Names = by_name

    def fetches(self) -> TensorMap:
        """What the loop runs for one batch of an input."""
        if self.input is None:
            raise ValueError("this graph has a placeholder for its images and no input")
        return {**_accounting(self.input), **self.predictions}


def _accounting(data: Input) -> TensorMap:
    return {"status": data.batch.status, "index": data.batch.index, "wait_seconds": data.wait_seconds}
