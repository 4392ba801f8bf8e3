"""The view of a task's data: captioned pictures with labels or boxes, and statistics of whole splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from PIL import Image

from runtime.task import TensorMap
from tools.inspect.network_inputs import NetworkInput
from tools.inspect.stored_records import StoredRecord
from utils.hooks.preemption import PreemptionHook
from utils.input.batching import Batch

MOST_RECORDS = 100_000
"""Most records of a split to count; of more, every n-th."""
Interruptible = Callable[[Iterable[Any]], Iterator[Any]]
"""Wraps the iterable of a long loop; raises ``KeyboardInterrupt`` once a signal has arrived."""


class CaptionedPicture(NamedTuple):
    """A picture with its caption and facts.

    Attributes:
        picture: The picture in RGB.
        caption: The line to write below it.
        facts: The JSON entries of the picture.
    """

    picture: Image.Image
    caption: str
    facts: dict[str, Any]


ExtraSheet = tuple[str, Callable[[NetworkInput], CaptionedPicture]]
"""The title of a sheet, and the function that draws its pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStatistics:
    """Classes, objects and faults of the splits of a data set.

    Attributes:
        facts: The entries for JSON.
        lines: The lines to print.
        charts: PNG files by name.
        faults: The faults of records, each with its place.
    """

    facts: Mapping[str, Any]
    lines: Sequence[str]
    charts: Mapping[str, bytes]
    faults: Sequence[str] = field(default=())


class View(Protocol):
    """A view of the data of a task.

    Attributes:
        side: Width and height of a picture's cell in pixels.
        unit: Name of the things that its classes count.
    """

    side: int
    unit: str

    def extra_tensors(self, batch: Batch, targets: TensorMap) -> TensorMap:
        """Tensors of a batch to show beside the task's targets, by name, N rows each."""

    def show_stored(self, record: StoredRecord) -> CaptionedPicture:
        """A record's image with its stored labels or objects.

        Raises:
            RunError: It has no image, or its labels or objects are unusable for the task.
        """

    def show_input(self, example: NetworkInput) -> CaptionedPicture:
        """An example as the network sees it, with its training targets or ground truth."""

    def extra_sheets(self) -> dict[str, ExtraSheet]:
        """Further sheets of fault-free training examples, by file name."""

    def statistics(self, interruptible: Interruptible) -> DatasetStatistics:
        """Statistics of all splits; wraps long loops in ``interruptible``."""


def interruptible_by(stop: PreemptionHook) -> Interruptible:
    """A wrapper that ends loops once ``stop`` has received a signal."""

    def interruptible(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if stop.wants_stop:
                raise KeyboardInterrupt
            yield item

    return interruptible
