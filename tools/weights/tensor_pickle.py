"""Reads the pickles of PyTorch's files as data: nothing is imported or called, and no object runs code (no TF).

A pickle is a program for a machine with a stack. This machine knows the instructions that describe tensors in
dictionaries, and no others. Values are numbers, texts, tuples, lists, dictionaries by text or small number, and the
frozen types below; names of functions stay names. An instruction that would set an object's state drops the state. The
numbers of bytes and instructions are limited, and no value is compared, shown or walked through to its depth, so time
and memory are limited too.

Source: the documents of ``pickletools`` describe the instructions.
"""

from __future__ import annotations

import math
import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MOST_INSTRUCTIONS = 2**18
MOST_AXES = 32
_MOST_OF_NOTHING = 2**40
"""The largest product of the other sides of a tensor of which one is 0; NumPy has a limit, though nothing is there."""
BFLOAT16 = "bfloat16"
_LARGEST_NUMBER = 2**63 - 1
_LONGEST_LINE = 1000
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_ORDERED_DICT = "collections OrderedDict"
_TENSOR, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
_OPTIONS = "argparse Namespace"  # beside the states in timm's training checkpoints
_NAMES = frozenset((_ORDERED_DICT, _TENSOR, _PARAMETER, _OPTIONS, *(f"torch {name}" for name in _STORAGES)))


class PickleError(Exception):
    """A pickle is damaged, or does something that files of tensors never do."""


class UnknownName(PickleError):  # noqa: N818  (its text is the name)
    """A pickle names a function or class that is not part of a tensor."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A block of ``count`` numbers of one type; ``key`` is its name in the archive."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """A strided view of a storage that starts at element ``offset``."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def fits(self, count: int) -> bool:
        """Returns whether the tensor lies within ``count`` numbers, and repeats none so often that it has more."""
        numbers, last = 1, self.offset
        for size, stride in zip(self.shape, self.strides, strict=True):
            numbers *= size
            last += (size - 1) * stride
        if numbers == 0:
            return self.offset <= count and math.prod(max(size, 1) for size in self.shape) <= _MOST_OF_NOTHING
        return numbers <= count and last < count


@dataclass(frozen=True, slots=True)
class _Name:
    """The name of a function or class, which stays a name."""

    text: str


class _Mark:
    """The mark at which a group of values on the stack begins."""


_MARK = _Mark()
_DROPPED = object()
"""Stands for the options of a training program."""


def read_pickle(data: bytes) -> Any:
    """The value that a pickle describes.

    Raises:
        UnknownName: It names something that is not part of a tensor.
        PickleError: It is damaged.
    """
    machine, reader = _Machine(), _Reader(data)
    for _ in range(MOST_INSTRUCTIONS):
        name = _NAMES_OF_CODES.get(reader.take(1), "")
        if name == "STOP":
            return machine.pop()
        machine.run(name, _ARGUMENTS[name](reader) if name in _ARGUMENTS else None)
    raise PickleError(f"it has more than {MOST_INSTRUCTIONS} instructions")


class _Reader:
    """The bytes of a pickle, read from the first to the last."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        begin, self._place = self._place, self._place + size
        if not 0 <= size <= len(self._data) - begin:
            raise PickleError("it was cut off")
        return self._data[begin : self._place]

    def number(self, form: str) -> Any:
        """The next number; ``form`` is one of ``struct``."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, form: str) -> str:
        """The next text, whose size is a number before it."""
        try:
            return self.take(self.number(form)).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise PickleError("a text is not UTF-8") from error

    def integer(self, form: str) -> int:
        """The next integer of any size, whose number of bytes is before it."""
        return int.from_bytes(self.take(self.number(form)), "little", signed=True)

    def line(self) -> str:
        """The rest of the line."""
        end = self._data.find(b"\n", self._place, self._place + _LONGEST_LINE)
        if end < 0:
            raise PickleError("a name has no end")
        return self.take(end + 1 - self._place)[:-1].decode("utf-8", "replace")


class _Machine:
    """The stack, the memo and the instructions."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Runs one instruction; ``argument`` follows it in the pickle."""
        if name in _CONSTANTS:
            self._stack.append(argument)
        elif name in _WORDS:
            self._stack.append(_WORDS[name])
        elif name in _INSTRUCTIONS:
            _INSTRUCTIONS[name](self, argument)
        elif name not in _IDLE:
            raise PickleError(f"it has {name or 'an unknown instruction'}, which files of tensors never have")

    def pop(self) -> Any:
        """Takes the topmost value."""
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleError("an instruction finds no value")
        return self._stack.pop()

    def _pop_group(self) -> list[Any]:
        """Takes the values above the topmost mark, and the mark."""
        begin = len(self._stack) - 1
        while begin >= 0 and self._stack[begin] is not _MARK:
            begin -= 1
        if begin < 0:
            raise PickleError("an instruction finds no mark")
        group = self._stack[begin + 1 :]
        del self._stack[begin:]
        return group

    def _top(self, kind: type) -> Any:
        if not self._stack or type(self._stack[-1]) is not kind:
            raise PickleError(f"an instruction finds no {kind.__name__}")
        return self._stack[-1]

    def _mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def _list(self, _: Any) -> None:
        self._stack.append([])

    def _append(self, _: Any) -> None:
        value = self.pop()
        self._top(list).append(value)

    def _extend(self, _: Any) -> None:
        group = self._pop_group()
        self._top(list).extend(group)

    def _dict(self, _: Any) -> None:
        self._stack.append({})

    def _set_item(self, _: Any) -> None:
        value = self.pop()
        self._set([self.pop(), value])

    def _set_items(self, _: Any) -> None:
        self._set(self._pop_group())

    def _set(self, group: list[Any]) -> None:
        """Sets keys and values in the topmost dictionary; keys are texts, or numbers as in an optimizer's state."""
        found = self._top(dict)
        if len(group) % 2:
            raise PickleError("a key has no value")
        found.update((key, value) for key, value in zip(group[::2], group[1::2], strict=True) if _is_key(key))

    def _tuple_of_group(self, _: Any) -> None:
        self._stack.append(tuple(self._pop_group()))

    def _tuple_1(self, _: Any) -> None:
        self._tuple(1)

    def _tuple_2(self, _: Any) -> None:
        self._tuple(2)

    def _tuple_3(self, _: Any) -> None:
        self._tuple(3)

    def _tuple(self, length: int) -> None:
        values = [self.pop() for _ in range(length)]
        self._stack.append(tuple(reversed(values)))

    def _put(self, index: int) -> None:
        if not self._stack or self._stack[-1] is _MARK or not 0 <= index < MOST_INSTRUCTIONS:
            raise PickleError("an instruction finds nothing to remember")
        self._memo[index] = self._stack[-1]

    def _put_next(self, _: Any) -> None:
        self._put(len(self._memo))

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise PickleError("an instruction asks for a value that was not remembered")
        self._stack.append(self._memo[index])

    def _name(self, text: str) -> None:
        if text not in _NAMES:
            raise UnknownName(text.replace(" ", ".", 1)[:200])
        self._stack.append(_Name(text))

    def _name_from_stack(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise PickleError("a name is no text")
        self._name(f"{module} {name}")

    def _call(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        if type(function) is not _Name or type(arguments) is not tuple or function.text not in _CALLS:
            raise PickleError("it calls what is no function of a tensor")
        self._stack.append(_CALLS[function.text](arguments))

    def _set_state(self, _: Any) -> None:
        self.pop()
        if not self._stack or not (type(self._stack[-1]) is dict or self._stack[-1] is _DROPPED):
            raise PickleError("it changes an object that has no state")

    def _storage(self, _: Any) -> None:
        self._stack.append(_storage(self.pop()))


_NAMES_OF_CODES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}
_ARGUMENTS: Mapping[str, Callable[[_Reader], Any]] = {
    "PROTO": lambda reader: reader.number("<B"),
    "FRAME": lambda reader: reader.number("<Q"),
    "BININT": lambda reader: reader.number("<i"),
    "BININT1": lambda reader: reader.number("<B"),
    "BININT2": lambda reader: reader.number("<H"),
    "BINFLOAT": lambda reader: reader.number(">d"),
    "LONG1": lambda reader: reader.integer("<B"),
    "LONG4": lambda reader: reader.integer("<i"),
    "BINUNICODE": lambda reader: reader.text("<I"),
    "SHORT_BINUNICODE": lambda reader: reader.text("<B"),
    "BINUNICODE8": lambda reader: reader.text("<Q"),
    "BINPUT": lambda reader: reader.number("<B"),
    "LONG_BINPUT": lambda reader: reader.number("<I"),
    "BINGET": lambda reader: reader.number("<B"),
    "LONG_BINGET": lambda reader: reader.number("<I"),
    "GLOBAL": lambda reader: f"{reader.line()} {reader.line()}",
}
"""Readers of what follows an instruction; others have nothing after them."""
_CONSTANTS = frozenset(
    ("BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1", "LONG4", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
)
"""Instructions that push the constant after them."""
_WORDS: Mapping[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
"""Instructions that push a constant of their own."""
_IDLE = frozenset(("PROTO", "FRAME"))
_INSTRUCTIONS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "EMPTY_LIST": _Machine._list,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._extend,
    "EMPTY_DICT": _Machine._dict,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "TUPLE": _Machine._tuple_of_group,
    "TUPLE1": _Machine._tuple_1,
    "TUPLE2": _Machine._tuple_2,
    "TUPLE3": _Machine._tuple_3,
    "BINPUT": _Machine._put,
    "LONG_BINPUT": _Machine._put,
    "MEMOIZE": _Machine._put_next,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "GLOBAL": _Machine._name,
    "STACK_GLOBAL": _Machine._name_from_stack,
    "REDUCE": _Machine._call,
    "NEWOBJ": _Machine._call,
    "BUILD": _Machine._set_state,
    "BINPERSID": _Machine._storage,
}


def _storage(reference: Any) -> Storage:
    if type(reference) is not tuple or len(reference) != 5:
        raise PickleError("it refers to something other than a storage")
    kind, storage, key, _, count = reference
    name = storage.text.removeprefix("torch ") if type(storage) is _Name else ""
    if kind != "storage" or name not in _STORAGES or type(key) is not str or not _is_size(count):
        raise PickleError("it refers to something other than a storage")
    return Storage(key, _STORAGES[name], count)


def _tensor(arguments: tuple[Any, ...]) -> TorchTensor:
    if len(arguments) < 4 or type(arguments[0]) is not Storage:
        raise PickleError("a tensor has no storage")
    storage, offset, shape, strides = arguments[:4]
    axes = type(shape) is tuple and type(strides) is tuple and len(shape) == len(strides) <= MOST_AXES
    if not axes or not all(map(_is_size, (offset, *shape, *strides))):
        raise PickleError("a tensor has no shape")
    tensor = TorchTensor(storage, offset, shape, strides)
    if not tensor.fits(storage.count):
        raise PickleError(
            f"a tensor of shape {shape} lies outside its storage of {storage.count}, or repeats numbers of it"
        )
    return tensor


def _parameter(arguments: tuple[Any, ...]) -> TorchTensor:
    if not arguments or type(arguments[0]) is not TorchTensor:
        raise PickleError("a parameter has no tensor")
    return arguments[0]


def _new_dict(arguments: tuple[Any, ...]) -> dict[str, Any]:
    if arguments:
        raise PickleError("a dictionary is made from something")
    return {}


def _options(_: tuple[Any, ...]) -> object:
    return _DROPPED


_CALLS: Mapping[str, Callable[[tuple[Any, ...]], Any]] = {
    _ORDERED_DICT: _new_dict,
    _TENSOR: _tensor,
    _PARAMETER: _parameter,
    _OPTIONS: _options,
}


def _is_key(value: Any) -> bool:
    return type(value) is str or (type(value) is int and 0 <= value < MOST_INSTRUCTIONS)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_NUMBER
