"""Setting of one field of a pipeline config from text (no TF)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from object_detection.pipeline.schema import OPAQUE
from object_detection.pipeline.text import Pipeline, advice, refusal, split_step
from utils.errors import UsageError

FLAG = "--hparams_overrides"

_INTEGER = re.compile(r"[+-]?\d{1,10}")
_SWITCH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True, slots=True)
class Edit:
    """An override as written, and the config that it changes."""

    pipeline: Pipeline
    name: str
    value: str

    def is_field(self, name: str) -> bool:
        """Returns whether the root message has a field of this name, with an index or without."""
        return name.partition("[")[0] in self.pipeline.message.DESCRIPTOR.fields_by_name

    def set(self, path: str) -> None:
        """Sets the field at ``path`` to the value.

        Raises:
            UsageError: There is no such field, or the value is invalid for it.
        """
        message, field, index = self._reach(path)
        if field.message_type:
            self._set_message(message, field, index)
        elif field.is_repeated:
            values = [read_value(self, field, item) for item in self._items()]
            message.SetInParent()
            message.ClearField(field.name)
            getattr(message, field.name).extend(values)
        else:
            setattr(message, field.name, read_value(self, field, self.value))
        origins = self.pipeline.origins
        for below in [other for other in origins if other.startswith((f"{path}.", f"{path}["))]:
            del origins[below]
        origins[path] = FLAG

    def unknown(self, hint: str) -> UsageError:
        """Returns the error for an unknown field, with a hint."""
        return UsageError(f"{FLAG}: {self.name}: no such field; {hint}")

    def wrong(self, allowed: str) -> UsageError:
        """Returns the error for an invalid value."""
        return UsageError(f"{FLAG}: {self.name}={self.value}: must be {allowed}")

    def _reach(self, path: str) -> tuple[Any, Any, int | None]:
        """Returns the message that holds the field at ``path``, the field, and the index at the path's end."""
        message, before = self.pipeline.message, ""
        *steps, last = path.split(".")
        for step in steps:
            field, index = self._step(message, step)
            before = f"{before}.{step}".removeprefix(".")
            if not field.message_type:
                raise UsageError(f"{FLAG}: {self.name}: {before} holds a value and no fields")
            if field.message_type.name == OPAQUE:
                raise UsageError(f"{FLAG}: {self.name}: {refusal(before)}")
            if field.is_repeated and index is None:
                raise UsageError(f"{FLAG}: {self.name}: {before} is a list; its first entry is {before}[0]")
            message = getattr(message, field.name)
            message = message if index is None else message[index]
        return message, *self._step(message, last)

    def _step(self, message: Any, step: str) -> tuple[Any, int | None]:
        """Returns a field of ``message`` and the index after its name; an index at the end of a list appends to it."""
        name, index = split_step(step)
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            raise self.unknown(advice(message.DESCRIPTOR, step.partition("[")[0]))
        if index is None:
            return field, None
        if not (field.is_repeated and field.message_type):
            raise UsageError(f"{FLAG}: {self.name}: {name} is not a list of messages; leave out the index")
        present = getattr(message, field.name)
        if index > len(present):
            raise UsageError(f"{FLAG}: {self.name}: {name} has {len(present)} entries, counted from 0")
        if index == len(present):
            present.add()
        return field, index

    def _set_message(self, message: Any, field: Any, index: int | None) -> None:
        allowed = "[]" if field.is_repeated and index is None else "{}"
        if self.value != allowed:
            inside = ", ".join(sorted(field.message_type.fields_by_name))
            raise self.wrong(f"{allowed}, since it holds no value{f' but {inside}' if inside else ''}")
        if index is not None:
            getattr(message, field.name)[index].Clear()
            return
        message.SetInParent()
        message.ClearField(field.name)
        if not field.is_repeated:
            getattr(message, field.name).SetInParent()

    def _items(self) -> list[str]:
        """Splits the text of a list into its values."""
        if not (self.value.startswith("[") and self.value.endswith("]")):
            return [self.value]
        return re.findall(r"""\s*("[^"]*"|'[^']*'|[^,]+?)\s*(?:,|$)""", self.value[1:-1])


def read_value(edit: Edit, field: Any, text: str) -> Any:
    """Parses a text as a value of ``field``.

    Raises:
        UsageError: The text is not a value of the field's type.
    """
    text = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    if field.enum_type:
        allowed = field.enum_type.values_by_name
        if text not in allowed:
            raise edit.wrong(f"one of {', '.join(allowed)}")
        return allowed[text].number
    if field.cpp_type == field.CPPTYPE_BOOL:
        return read_switch(edit)
    if field.cpp_type == field.CPPTYPE_INT32:
        if not _INTEGER.fullmatch(text) or abs(int(text)) >= 2**31:
            raise edit.wrong("an integer of 32 bits")
        return int(text)
    if field.cpp_type == field.CPPTYPE_DOUBLE:
        try:
            return float(text)
        except ValueError:
            raise edit.wrong("a number") from None
    return text


def read_switch(edit: Edit) -> bool:
    """Parses the value as true or false.

    Raises:
        UsageError: The value is neither.
    """
    if edit.value.lower() not in _SWITCH:
        raise edit.wrong("true or false")
    return _SWITCH[edit.value.lower()]
