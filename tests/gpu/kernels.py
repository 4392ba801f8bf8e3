"""The GPU kernels of TensorFlow's CUDA build, as a table that tests read where only the CPU build is installed.

The CUDA build registers its kernels on machines without a GPU too. ``kernels.json`` records those of the operations in
this project's graphs; ``python -m tests.gpu.record`` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import kernels, op_def_registry

RECORDED = Path(__file__).with_name("kernels.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel of an operation.

    Attributes:
        device: "GPU", "DEFAULT" for any accelerator without one of its own, or "CPU".
        types: The types, by number, that each constrained attribute may have.
        host: Names of inputs and outputs in host memory.
        priority: The placer takes the device whose kernel has the highest.
    """

    device: str
    types: Mapping[str, frozenset[int]]
    host: frozenset[str]
    priority: int = 0

    def serves(self, node: Any) -> bool:
        """Returns whether a node's types satisfy all constraints."""
        return all(set(types_of(node, name)) <= allowed for name, allowed in self.types.items())


class UnknownOperationError(KeyError):
    """An operation that the table does not cover."""


class KernelTable:
    """Kernels by operation."""

    def __init__(self, kernels_of: Mapping[str, tuple[Kernel, ...]]) -> None:
        self._kernels_of = kernels_of

    def on_gpu(self, node: Any) -> Kernel | None:
        """Returns a node's kernel on GPUs, or None."""
        return self._best(node, "GPU") or self._best(node, "DEFAULT")

    def choose(self, node: Any) -> Kernel | None:
        """Returns the GPU kernel that the placer chooses for a node, or None if it chooses the CPU."""
        chosen, cpu = self.on_gpu(node), self._best(node, "CPU")
        return None if chosen and cpu and cpu.priority > chosen.priority else chosen

    def _best(self, node: Any, device: str) -> Kernel | None:
        if node.op not in self._kernels_of:
            raise UnknownOperationError(f"{node.op}: not in {RECORDED.name}; python -m tests.gpu.record adds it")
        serving = [k for k in self._kernels_of[node.op] if k.device == device and k.serves(node)]
        return max(serving, key=lambda kernel: kernel.priority, default=None)

    def to_json(self) -> str:
        """Returns the table with one operation a line."""
        lines = (f"  {json.dumps(op)}: {json.dumps(_rows(found))}" for op, found in sorted(self._kernels_of.items()))
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> KernelTable:
        return cls({op: tuple(map(_kernel, rows)) for op, rows in json.loads(text).items()})


def recorded_kernels() -> KernelTable:
    """The table in the repository."""
    return KernelTable.from_json(RECORDED.read_text(encoding="utf-8"))


def registered_kernels(operations: Iterable[str]) -> KernelTable:
    """The table of the installed TensorFlow: useful for its CUDA build only."""
    return KernelTable({op: tuple(_merged(map(_of_proto, _registered(op)))) for op in operations})


def is_cuda_build() -> bool:
    return bool(tf.test.is_built_with_cuda())


def op_def(op: str) -> Any:
    """The definition of an operation."""
    found = op_def_registry.get(op)
    if found is None:
        raise UnknownOperationError(f"{op}: TensorFlow has no such operation")
    return found


def types_of(node: Any, attribute: str) -> list[int]:
    """Returns the types in an attribute of a node, or its default."""
    value = node.attr.get(attribute)
    if value is None:
        value = next(a.default_value for a in op_def(node.op).attr if a.name == attribute)
    return [value.type] if value.HasField("type") else list(value.list.type)


def _registered(op: str) -> Iterable[Any]:
    for kernel in kernels.get_registered_kernels_for_op(op).kernel:
        # The CPU's kernels matter where they outrank the GPU's; a label is for those who ask for it by name.
        if not kernel.label and (kernel.device_type in ("GPU", "DEFAULT") or kernel.priority):
            yield kernel


def _of_proto(proto: Any) -> Kernel:
    types = {c.name: frozenset(c.allowed_values.list.type) for c in proto.constraint}
    return Kernel(
        device=proto.device_type,
        types={name: allowed for name, allowed in types.items() if allowed},
        host=frozenset(proto.host_memory_arg),
        priority=proto.priority,
    )


def _merged(found: Iterable[Kernel]) -> Iterable[Kernel]:
    """Joins kernels that differ in the types of one attribute only."""
    for name in (None, "T", "Tparams", "dtype", "DstT", "SrcT"):
        joined: dict[Any, Kernel] = {}
        for kernel in found:
            others = tuple(sorted((n, tuple(sorted(t))) for n, t in kernel.types.items() if n != name))
            key = (kernel.device, others, kernel.host, kernel.priority, name in kernel.types)
            former = joined.get(key)
            if former is not None and name in kernel.types:
                kernel = Kernel(
                    device=kernel.device,
                    types={**kernel.types, name: kernel.types[name] | former.types[name]},
                    host=kernel.host,
                    priority=kernel.priority,
                )
            joined[key] = kernel
        found = list(joined.values())
    return found


def _rows(found: Iterable[Kernel]) -> list[Any]:
    rows = [
        {
            "device": kernel.device,
            "types": {name: sorted(map(types_pb2.DataType.Name, allowed)) for name, allowed in kernel.types.items()},
            "host": sorted(kernel.host),
            "priority": kernel.priority,
        }
        for kernel in found
    ]
    slim = [{name: value for name, value in row.items() if value} for row in rows]
    return sorted(slim, key=json.dumps)


def _kernel(row: Mapping[str, Any]) -> Kernel:
    types = row.get("types", {})
    return Kernel(
        device=row["device"],
        types={name: frozenset(map(types_pb2.DataType.Value, allowed)) for name, allowed in types.items()},
        host=frozenset(row.get("host", ())),
        priority=row.get("priority", 0),
    )
