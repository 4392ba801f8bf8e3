"""Converts a recording of TensorFlow's profiler to a trace in Chrome's JSON format."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

STEP_NUMBER = "step_num"
_PS_A_US = 1e6


class _Event(NamedTuple):
    """An event on a recorded thread."""

    process: int
    thread: int
    begin_ps: int
    end_ps: int
    name: str
    arguments: dict[str, Any]


def chrome_trace(recording: bytes, mark: str) -> bytes:
    """The events of the marked steps as gzipped JSON for trace viewers.

    The trace covers the time from the begin of the first mark to the end of the last. Events that cross these limits
    are cut there, and events without duration, which are the profiler's own notes, are left out. Times are microseconds
    since the first mark.

    Args:
        recording: An ``XSpace`` message, the file ``*.xplane.pb``.
        mark: Name of the events that frame the steps; the argument "step_num" of each is the number of the step.

    Raises:
        ValueError: The recording is damaged or holds no mark.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2  # imported only if there is a trace to write

    try:
        space = xplane_pb2.XSpace.FromString(recording)
    except Exception as error:  # protobuf's error class has no public base class
        raise ValueError("the recording is damaged") from error
    marks = [event for event in _events(space) if event.name == mark and STEP_NUMBER in event.arguments]
    if not marks:
        raise ValueError("the recording holds no step")
    begin, end = min(event.begin_ps for event in marks), max(event.end_ps for event in marks)
    used: set[tuple[int, int]] = set()
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=5, mtime=0) as file:
        file.write(b'{"displayTimeUnit":"ms","traceEvents":[\n')
        for event in _events(space):  # streamed: a hundred steps have a million events
            if event.begin_ps < end and event.end_ps > max(begin, event.begin_ps):
                used.add((event.process, event.thread))
                file.write(_line(_complete(event, begin, end)) + b",\n")
        file.write(b",\n".join(map(_line, _names(space, sorted(used)))) + b"\n]}\n")
    return packed.getvalue()


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode("ascii")


def _events(space: Any) -> Iterator[_Event]:
    """All events of all threads."""
    for process, plane in enumerate(space.planes):
        for thread, line in enumerate(plane.lines):
            for event in line.events:
                name, arguments = _named(plane.event_metadata[event.metadata_id].name)
                arguments |= _arguments(event.stats, plane.stat_metadata)
                begin = line.timestamp_ns * 1000 + event.offset_ps
                yield _Event(process, thread, begin, begin + event.duration_ps, name, arguments)


def _named(name: str) -> tuple[str, dict[str, Any]]:
    """The name and type of an operation, which the profiler writes as ``name:type``."""
    operation, separator, kind = name.rpartition(":")
    if separator and operation and not operation.endswith(":") and kind.isidentifier():
        return operation, {"type": kind}
    return name, {}


def _arguments(stats: Any, names: Mapping[int, Any]) -> dict[str, Any]:
    """Arguments of an event, without the profiler's own links, whose names begin with an underscore."""
    found = {}
    for stat in stats:
        name, kind = names[stat.metadata_id].name, stat.WhichOneof("value")
        if kind is None or kind == "bytes_value" or name.startswith("_"):
            continue
        found[name] = names[stat.ref_value].name if kind == "ref_value" else getattr(stat, kind)
    return found


def _complete(event: _Event, begin_ps: int, end_ps: int) -> dict[str, Any]:
    """An event in Chrome's format, cut to the part between two times."""
    first, last = max(event.begin_ps, begin_ps), min(event.end_ps, end_ps)
    return {
        "ph": "X",
        "pid": event.process,
        "tid": event.thread,
        "ts": (first - begin_ps) / _PS_A_US,
        "dur": (last - first) / _PS_A_US,
        "name": event.name,
        "args": event.arguments,
    }


def _names(space: Any, used: Sequence[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Metadata events that name the devices and threads with events."""
    for process in sorted({process for process, _ in used}):
        yield _metadata("process_name", process, 0, space.planes[process].name)
    for process, thread in used:
        yield _metadata("thread_name", process, thread, space.planes[process].lines[thread].name.partition("/")[0])


def _metadata(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": process, "tid": thread, "name": kind, "args": {"name": name}}
