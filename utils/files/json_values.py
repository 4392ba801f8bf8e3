"""Type checks for the values of a parsed JSON file (no TF)."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

_SHOWN = 60
_WORDS = {int: "a whole number", float: "a number", str: "text", list: "a list", dict: "an object"}


def typed(
    content: Mapping[str, Any],
    key: str,
    kind: type,
    *,
    optional: bool = False,
    least: int | None = None,
    most: int | None = None,
) -> Any:
    """The value of a key, checked for its type.

    Args:
        content: A JSON object.
        key: Its key.
        kind: ``int``, ``float`` (any number), ``str``, ``list`` or ``dict``. True and false match none of them.
        optional: Return None if the key is missing or null.
        least: The smallest allowed number.
        most: The largest allowed number.

    Raises:
        ValueError: The value is missing, of another kind or out of range; the message names the value and what is
            allowed.
    """
    value: Any = content.get(key)
    if optional and value is None:
        return None
    if not is_kind(value, kind):
        what = f"is {shortened(value)}" if key in content else "is missing"
        raise ValueError(f'"{key}" {what}, and must be {_WORDS[kind]}')
    if least is not None and value < least:
        raise ValueError(f'"{key}" is {shortened(value)}, and must be {least} or more')
    if most is not None and value > most:
        raise ValueError(f'"{key}" is {shortened(value)}, and must be at most {most}')
    return value


def typed_list(content: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    """The list of a key; each value is checked as in ``typed``."""
    values: list[Any] = typed(content, key, list)
    for value in values:
        if not is_kind(value, kind):
            raise ValueError(f'"{key}" contains {shortened(value)}; every value of the list must be {_WORDS[kind]}')
    return values


def is_kind(value: Any, kind: type) -> bool:
    """Returns whether a value is of a kind, in the sense of ``typed``; text must be valid Unicode."""
    if isinstance(value, bool):
        return False
    if isinstance(value, str) and not _is_unicode(value):
        return False
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


class _Excerpt(reprlib.Repr):
    """The beginning of a value's text: of bounded length and depth, however large the value is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist = self.maxdict = self.maxtuple = _SHOWN
        self.maxstring = self.maxlong = self.maxother = 4 * _SHOWN  # each is cut in its middle


def _is_unicode(text: str) -> bool:
    """Returns whether a text can be written as UTF-8; a lone surrogate from an escape cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shortened(value: Any) -> str:
    """Shortens the text of a value for a message."""
    text = _Excerpt().repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
