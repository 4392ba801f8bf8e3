"""The conversion of profiler recordings to traces, checked by hand."""

import gzip
import json

import pytest
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from utils.reporting.chrome_trace import chrome_trace

US = 1_000_000  # picoseconds


def recording(*threads):
    """Threads as (name, begin in ns, events as (name, begin in us, duration in us, step or None))."""
    space = xplane_pb2.XSpace()
    space.planes.add(name="/host:metadata")
    plane = space.planes.add(name="/host:CPU")
    for number, name in enumerate(("step_num", "_r", "kind", "a text"), start=1):
        plane.stat_metadata[number].name = name
    numbers = {}
    for thread, begin_ns, events in threads:
        line = plane.lines.add(name=thread, timestamp_ns=begin_ns)
        for name, begin, duration, step in events:
            number = numbers.setdefault(name, len(numbers) + 1)
            plane.event_metadata[number].name = name
            event = line.events.add(metadata_id=number, offset_ps=begin * US, duration_ps=duration * US)
            event.stats.add(metadata_id=2, int64_value=1)
            if step is None:
                event.stats.add(metadata_id=3, ref_value=4)
            else:
                event.stats.add(metadata_id=1, int64_value=step)
    return space.SerializeToString()


def events_of(trace):
    return json.loads(gzip.decompress(trace))["traceEvents"]


TWO_STEPS = recording(
    ("python", 2000, [("train", 100, 50, 7), ("train", 160, 40, 8), ("train", 200, 5, None)]),
    (
        "tf_Compute/-123",
        1000,
        [
            ("net/conv:Conv2D", 111, 20, None),  # 1 us earlier on this thread's clock: 10 us after the first mark
            ("before:Add", 10, 80, None),
            ("over:the:End::Process", 190, 100, None),
            ("ThreadpoolListener::Record", 120, 0, None),
        ],
    ),
    ("idle/1", 1000, [("late:Mul", 900, 1, None)]),
)


def test_events_of_the_marked_steps_are_there_and_no_others():
    complete = [event for event in events_of(chrome_trace(TWO_STEPS, "train")) if event["ph"] == "X"]
    complete.sort(key=lambda event: event["ts"])
    assert [(event["name"], event["ts"], event["dur"]) for event in complete] == [
        ("train", 0, 50),
        ("net/conv", 10, 20),
        ("train", 60, 40),
        ("over:the:End::Process", 89, 11),  # cut at the end of step 8
    ]
    assert [event["args"] for event in complete] == [
        {"step_num": 7},
        {"type": "Conv2D", "kind": "a text"},
        {"step_num": 8},
        {"kind": "a text"},
    ]


def test_devices_and_threads_have_names_without_numbers():
    events = events_of(chrome_trace(TWO_STEPS, "train"))
    names = {
        (event["name"], event["pid"], event["tid"]): event["args"]["name"] for event in events if event["ph"] == "M"
    }
    assert names == {
        ("process_name", 1, 0): "/host:CPU",
        ("thread_name", 1, 0): "python",
        ("thread_name", 1, 1): "tf_Compute",
    }


@pytest.mark.parametrize(
    ("data", "problem"), [(b"\xff\xff", "damaged"), (b"", "holds no step"), (recording(("python", 0, [])), "no step")]
)
def test_what_holds_no_steps_is_refused(data, problem):
    with pytest.raises(ValueError, match=problem):
        chrome_trace(data, "train")
