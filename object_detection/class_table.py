"""The categories of a detector: their ids, their names, and the class slot that each is scored in (no TF)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """Categories in the order of their ids.

    Attributes:
        ids: Category ids, ascending.
        names: The name of each.
        aliases: What records may call each instead, or nothing.
        slots: The slot of each among the logits of an anchor.
        slot_count: K, slots of an anchor, unused ones included.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    slots: tuple[int, ...]
    slot_count: int

    @property
    def texts(self) -> dict[str, int]:
        """The id of each text that stands for a category."""
        return {text: self.ids[i] for texts in (self.aliases, self.names) for i, text in enumerate(texts) if text}


def class_table(
    ids: tuple[int, ...], names: tuple[str, ...], aliases: tuple[str, ...], largest_id: int, *, exact: bool
) -> ClassTable:
    """The table of categories.

    Args:
        ids: Category ids, ascending.
        names: The name of each.
        aliases: Another name of each, or nothing.
        largest_id: Slots are there for ids up to this one, used or not, and for the background before them.
        exact: One slot for each category instead.
    """
    if exact:
        return ClassTable(ids=ids, names=names, aliases=aliases, slots=tuple(range(len(ids))), slot_count=len(ids))
    return ClassTable(ids=ids, names=names, aliases=aliases, slots=ids, slot_count=largest_id + 1)
