"""What an inspection asks of a kind of data: pictures with labels or boxes, and what a whole split holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from PIL import Image

from tools.inspect.samples import More, Received
from tools.inspect.stored_records import Stored
from utils.hooks.preemption import PreemptionHook

MOST_RECORDS = 100_000
"""Of a split are counted; of more, each n-th."""
Item = TypeVar("Item")


class Shown(NamedTuple):
    """A picture with what belongs to it.

    Attributes:
        picture: In RGB.
        caption: A line for below it.
        facts: The same for JSON.
    """

    picture: Image.Image
    caption: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What the splits of a data set hold.

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
    """How the data of a task is shown.

    Attributes:
        side: Width and height in pixels that a picture gets on a sheet.
        unit: What its classes count.
        more: Tensors that it needs of a batch beside the task's targets.
    """

    side: int
    unit: str
    more: More

    def stored(self, record: Stored) -> Shown:
        """A record's image with its labels or objects as they are stored.

        Raises:
            RunError: It has no image, or something else than the task can use.
        """

    def received(self, example: Received) -> Shown:
        """An example as the network gets it, with what it is trained to say or compared with."""

    def further(self, examples: Sequence[Received]) -> dict[str, tuple[str, list[Shown]]]:
        """Titles and pictures of more sheets of training examples, by file name."""

    def contents(self, heed: Callable[[Iterable[Any]], Iterator[Any]]) -> Contents:
        """Counts everything; ``heed`` is to be put around long loops."""


def heeding(stop: PreemptionHook) -> Callable[[Iterable[Item]], Iterator[Item]]:
    """What ends a loop by ``KeyboardInterrupt`` once a signal has come."""

    def heed(items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            if stop.wants_stop:
                raise KeyboardInterrupt
            yield item

    return heed
