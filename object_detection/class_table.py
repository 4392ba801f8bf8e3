"""The categories of a detector: ids, names and class slots among the logits (no TF)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTable:
    """Categories in the order of their ids.

    Attributes:
        ids: Category ids, ascending.
        names: The name of each category.
        aliases: Another name of each category that records may use, or nothing.
        slots: The slot of each category among the logits of an anchor.
        slot_count: K, slots per anchor, unused ones included.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    slots: tuple[int, ...]
    slot_count: int

    @property
    def texts(self) -> dict[str, int]:
        """Category ids by name and alias."""
        return {text: self.ids[i] for texts in (self.aliases, self.names) for i, text in enumerate(texts) if text}


def class_table(
    ids: tuple[int, ...], names: tuple[str, ...], aliases: tuple[str, ...], largest_id: int, *, exact: bool
) -> ClassTable:
    """Builds the table of categories.

    Args:
        ids: Category ids, ascending.
        names: The name of each category.
        aliases: Another name of each category, or nothing.
        largest_id: There is a slot for every id up to this one, used or not, and slot 0 for the background.
        exact: Whether to have exactly one slot per category instead.
    """
    if exact:
        return ClassTable(ids=ids, names=names, aliases=aliases, slots=tuple(range(len(ids))), slot_count=len(ids))
    return ClassTable(ids=ids, names=names, aliases=aliases, slots=ids, slot_count=largest_id + 1)
