"""A pipeline config as written: the message, and the place where each of its fields was given (no TF).

Paths of fields are dotted, such as ``train_config.batch_size``; the messages of a list are counted from 0, such as
``train_config.data_augmentation_options[1].random_crop_image``.
"""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_format

from object_detection.pipeline.schema import OPAQUE, message_class
from object_detection.text_format import CLOSING, FaultError, Token, TokenReader, read_source, tokenize
from utils.errors import UsageError
from utils.suggestions import did_you_mean, nearest, path_hint

DEEPEST = 100
"""Messages within messages; a config has about ten."""
_STEP = re.compile(r"(?P<name>\w+)(?:\[(?P<index>\d{1,9})\])?")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A pipeline config.

    Attributes:
        message: The root message (``object_detection/pipeline/schema.py``).
        file: The path as it was given.
        origins: The place where each field was given, by path: a file with its line, or a flag.
    """

    message: Any
    file: str
    origins: dict[str, str]

    def error(self, path: str, problem: str) -> UsageError:
        """Returns an error about the field at ``path``, with the place where it was given."""
        return UsageError(f"{self._origin(path)}: {path}{problem}")

    def _origin(self, path: str) -> str:
        """Returns the place of a field, else of a field inside it, else of the message that it belongs to."""
        if path in self.origins:
            return self.origins[path]
        inside = [origin for other, origin in self.origins.items() if other.startswith(f"{path}.")]
        parent = path.rpartition(".")[0]
        return inside[0] if inside else self._origin(parent) if parent else self.file


def read(file: str) -> Pipeline:
    """Reads a config.

    Raises:
        UsageError: The file does not exist, or its text is not in the format; names file, line and field.
    """
    try:
        text = read_source(file)
        found = _Scanner(text).found
    except OSError as error:
        raise UsageError(f"--pipeline_config_path {file}: {error.strerror}{path_hint(file)}") from None
    except FaultError as fault:
        raise UsageError(f"{file}:{fault.line}: {fault}") from None
    message = message_class()()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        explained = _explained(error, found)
        raise UsageError(f"{file}:{explained.line}: {explained}") from None
    return Pipeline(message=message, file=file, origins={path: f"{file}:{line}" for (line, _), path in found})


class _Scanner:
    """Finds the place of each field in a text, even if the text does not fit the format.

    Raises:
        FaultError: The text nests messages too deeply.
    """

    def __init__(self, text: str) -> None:
        self.found: list[tuple[tuple[int, int], str]] = []
        """Place and path of each field, in the order of the text."""
        self._tokens = TokenReader(token for token in tokenize(text) if token.kind != "open_quote")
        self._depth = 0
        self._read_fields("", message_class().DESCRIPTOR, closing="")

    def _read_fields(self, prefix: str, message: Any, closing: str) -> None:
        counts: Counter[str] = Counter()
        while not self._tokens.at_end and not self._tokens.skip(closing):
            name = self._tokens.take()
            if name.kind != "word":
                continue
            self._tokens.skip(":")
            if not self._tokens.skip("["):
                self._read_value(prefix, message, name, counts)
                continue
            while not self._tokens.at_end and not self._tokens.skip("]"):
                if not self._tokens.skip(","):
                    self._read_value(prefix, message, name, counts)

    def _read_value(self, prefix: str, message: Any, name: Token, counts: Counter[str]) -> None:
        field = message.fields_by_name.get(name.value) if message else None
        path = prefix + name.value
        inner = field.message_type if field else None
        if field and inner and field.is_repeated:
            path += f"[{counts[name.value]}]"
            counts[name.value] += 1
        self.found.append(((name.line, name.column), path))
        opening = self._tokens.take()
        if opening.value in ("{", "<"):
            if self._depth == DEEPEST:
                raise FaultError(opening.line, f"more than {DEEPEST} messages lie within each other")
            self._depth += 1
            self._read_fields(f"{path}.", inner, CLOSING[opening.value])
            self._depth -= 1


def _explained(error: text_format.ParseError, found: list[tuple[tuple[int, int], str]]) -> FaultError:
    """Adds path and advice to protobuf's message."""
    place = (error.GetLine() or 1, error.GetColumn() or 1)
    before = bisect.bisect_right(found, place, key=lambda entry: entry[0]) - 1
    on_this_line = before >= 0 and found[before][0][0] == place[0]  # a field of another line is not to blame
    path = found[before][1] if on_this_line else ""
    said = re.sub(r"^\d+:\d+ : ('.*': (?=[A-Z]))?", "", str(error).partition("\n")[0])
    unknown = re.fullmatch(r'Message type "\w+\.(\w+)" has no field named "(\w+)"\.', said)
    if unknown:
        return FaultError(place[0], _about_unknown(path, *unknown.groups()))
    said = re.sub(r' of oneof "\w+" for message type "[\w.]+"', " of one choice", said)
    said = re.sub(r'(Message|Enum) type "(?:\w+\.)+(\w+)"', r"\2", said)
    if path and (field := describe(path)[1]) is not None and field.enum_type:
        said += f" It may be {', '.join(field.enum_type.values_by_name)}."
    return FaultError(place[0], f"{path}: {said}" if path else said)


def _about_unknown(path: str, kind: str, name: str) -> str:
    """Describes that a message of type ``kind``, the parent of ``path``, has no field ``name``."""
    parent = path.rpartition(".")[0]
    holder_type = describe(parent)[1].message_type if parent and describe(parent)[1] else message_class().DESCRIPTOR
    message = holder_type.file.message_types_by_name[kind]
    if holder_type is not message:  # the text is too malformed for a reliable path
        return f"{name}: no such field; {advice(message, name)}"
    return f"{parent}: {refusal(parent)}" if kind == OPAQUE else f"{path}: no such field; {advice(message, name)}"


def describe(path: str) -> tuple[Any, Any]:
    """Returns the message type that holds the field at ``path``, and the field; each is None if it does not exist."""
    message, field = message_class().DESCRIPTOR, None
    for name in re.sub(r"\[\d+\]", "", path).split("."):
        message = field.message_type if field else message
        field = message.fields_by_name.get(name) if message else None
        if field is None:
            return message, None
    return message, field


def refusal(path: str) -> str:
    """Explains that the message at ``path`` is not offered, and names the alternatives that are."""
    message, field = describe(path)
    one_of = field.containing_oneof
    names = [other for other in offered(message) if one_of and message.fields_by_name[other].containing_oneof]
    return f"not offered here; what is: {', '.join(names)}" if names else "not offered here; leave it out"


def offered(message: Any) -> list[str]:
    """The fields of a type of message, without those that are messages which are refused."""
    return [field.name for field in message.fields if not (field.message_type and field.message_type.name == OPAQUE)]


def advice(message: Any, name: str) -> str:
    """Suggests where the field ``name``, which messages of this type do not have, may belong."""
    names = offered(message)
    if question := did_you_mean(nearest(name, names)):
        return question
    if elsewhere := [path for path in all_paths() if path.rpartition(".")[2] == name]:
        return f"there is {' and '.join(elsewhere[:2])}"
    return f"{message.name} has {', '.join(sorted(names)) or 'none'}"


def all_paths(prefix: str = "", message: Any = None) -> Iterator[str]:
    """Yields the paths of all fields, with ``[0]`` for the messages of a list."""
    for field in (message or message_class().DESCRIPTOR).fields:
        path = prefix + field.name + ("[0]" if field.is_repeated and field.message_type else "")
        yield path
        if field.message_type:
            yield from all_paths(f"{path}.", field.message_type)


def holder(message: Any, path: str) -> tuple[Any, str]:
    """Returns the message below ``message`` that holds the field at ``path``, and the field's name.

    Raises:
        IndexError: An index in the path is beyond the end of its list.
    """
    *steps, last = path.split(".")
    for step in steps:
        name, index = split_step(step)
        message = getattr(message, name)
        message = message if index is None else message[index]
    return message, last


def split_step(step: str) -> tuple[str, int | None]:
    """Splits one step of a path into its name and index, if any; returns a malformed step unchanged."""
    match = _STEP.fullmatch(step)
    if match is None:
        return step, None
    return match["name"], None if match["index"] is None else int(match["index"])
