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
"""Of a split are counted; of more, each n-th."""
Interruptible = Callable[[Iterable[Any]], Iterator[Any]]
"""Goes around a long loop, to end it by ``KeyboardInterrupt`` once a signal has come."""


class CaptionedPicture(NamedTuple):
    """A picture with what belongs to it.

    Attributes:
        picture: In RGB.
        caption: A line for below it.
        facts: The same for JSON.
    """

    picture: Image.Image
    caption: str
    facts: dict[str, Any]


ExtraSheet = tuple[str, Callable[[NetworkInput], CaptionedPicture]]
"""The title of a sheet, and what makes its pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetStatistics:
    """Classes, objects and faults of the splits of a data set.

    Attributes:
        facts: For JSON.
        lines: For people.
        charts: PNG files by name.
        faults: What is wrong with records, each with its place.
    """

    facts: Mapping[str, Any]
    lines: Sequence[str]
    charts: Mapping[str, bytes]
    faults: Sequence[str] = field(default=())


class View(Protocol):
    """A view of the data of a task.

    Attributes:
        side: Width and height in pixels that a picture gets on a sheet.
        unit: What its classes count.
    """

    side: int
    unit: str

    def extra_tensors(self, batch: Batch, targets: TensorMap) -> TensorMap:
        """Tensors of a batch that are shown beside the task's targets, by name, N rows each."""

    def show_stored(self, record: StoredRecord) -> CaptionedPicture:
        """A record's image with its labels or objects as they are stored.

        Raises:
            RunError: It has no image, or something else than the task can use.
        """

    def show_input(self, example: NetworkInput) -> CaptionedPicture:
        """An example as the network gets it, with what it is trained to say or compared with."""

    def extra_sheets(self) -> dict[str, ExtraSheet]:
        """More sheets of sound training examples, by file name."""

    def statistics(self, interruptible: Interruptible) -> DatasetStatistics:
        """Count everything; ``interruptible`` is put around long loops."""


def interruptible_by(stop: PreemptionHook) -> Interruptible:
    """Make loops end once ``stop`` has got a signal."""

    def interruptible(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if stop.wants_stop:
                raise KeyboardInterrupt
            yield item

    return interruptible
