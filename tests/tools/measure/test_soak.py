import sys
from pathlib import Path

import pytest

from tools.measure import soak
from tools.measure.soak import SPANS, Sample, growth_of, main, spans
from utils.errors import RunError

LOG = """
import json, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit({status}))
path = pathlib.Path({folder!r}) / "run" / "log.json"
path.parent.mkdir()
with path.open("a") as log:
    for step in range(1000):
        record = {{"timestamp": str(time.time()), "type": "LOG", "step": [0, step], "data": {{"eval_throughput": 1.0}}}}
        print("DLLL", json.dumps(record), file=log, flush=True)
        {leak}
        time.sleep(0.02)
"""


def rows(**changes):
    """Equal spans, but for the values of some resources by the number of the span."""
    flat = {"megabytes": lambda n: 500.0, "descriptors": lambda n: 7, "threads": lambda n: 20, **changes}
    return [Sample(time=float(n), **{name: value(n) for name, value in flat.items()}) for n in range(SPANS)]


def test_equal_and_falling_figures_are_flat():
    assert growth_of(rows()) == []
    assert growth_of(rows(megabytes=lambda n: 500 - n, descriptors=lambda n: 20 - n, threads=lambda n: 30 - n)) == []


def test_a_peak_in_between_and_a_single_one_at_the_end_are_no_growth_of_memory():
    assert growth_of(rows(megabytes=lambda n: 900.0 if n in (4, 8) else 500.0)) == []


def test_what_grows_is_named_with_its_figures():
    assert growth_of(rows(megabytes=lambda n: 500 + 2 * n)) == ["memory grew from 502.0 to 514.0 MB"]
    assert growth_of(rows(descriptors=lambda n: 7 + 3 * (n == 8))) == ["descriptors grew from 7 to 10"]
    assert growth_of(rows(descriptors=lambda n: 7 + 2 * (n == 8))) == []
    assert growth_of(rows(threads=lambda n: 20 + n)) == ["threads grew from 22 to 28"]


def sample(second, megabytes=1.0):
    return Sample(time=float(second), megabytes=megabytes, descriptors=3, threads=second % 3)


def test_spans_hold_the_peaks_after_the_warm_up():
    found = spans([sample(n, float(n % 4)) for n in range(101)], [10.0, 19.0, *range(30, 90, 10)])
    assert len(found) == SPANS
    assert [round(row.time) for row in (found[0], found[-1])] == [28, 100]
    assert {(row.megabytes, row.descriptors, row.threads) for row in found} == {(3.0, 3, 2)}


def test_the_warm_up_lasts_until_the_second_evaluation():
    found = spans([sample(n) for n in range(101)], [10.0, 55.0, 60.0, 70.0, 80.0])
    assert round(found[0].time) == 59


def test_too_few_evaluations_give_no_verdict():
    with pytest.raises(RunError, match="--minutes: only 3 evaluations ended"):
        spans([sample(n) for n in range(10)], [1.0, 2.0, 3.0])


@pytest.fixture
def pretend(monkeypatch):
    """Puts a short program in the place of main.py."""

    def put(status=75, leak="pass", program=LOG):
        monkeypatch.setattr(soak, "SECONDS_BETWEEN_SAMPLES", 0.02)
        monkeypatch.setattr(soak, "_make_data", lambda folder: None)
        monkeypatch.setattr(
            soak,
            "_command",
            lambda folder, flags: [sys.executable, "-c", program.format(status=status, folder=str(folder), leak=leak)],
        )

    return put


def test_a_flat_run_is_done(pretend, capsys):
    pretend()
    assert main(["--minutes=0.03"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["minutes", "MB", "descriptors", "threads"]
    assert len(table) == 1 + SPANS + 1
    assert table[-1].endswith("evaluations in 0.03 minutes: flat")


def test_a_run_that_grows_fails(pretend, capsys):
    pretend(leak="globals().setdefault('kept', []).append((b'x' * 500_000, open('/dev/null')))")
    assert main(["--minutes=0.03"]) == 1
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert "memory grew from " in verdict
    assert "; descriptors grew from " in verdict


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('boom')", "main.py ended with status 1: boom"),
        ("pass", "main.py ended with status 0: no error message"),
    ],
)
def test_a_run_that_ends_early_is_an_error(pretend, capsys, program, message):
    pretend(program=program)
    assert main(["--minutes=0.1"]) == 1
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_run_that_does_not_stop_is_an_error_and_is_killed(pretend, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(soak, "SECONDS_TO_END", 0.2)
    pid = tmp_path / "pid"
    ignore = "import os, pathlib, signal, time; signal.signal(15, signal.SIG_IGN); "
    pretend(program=f"{ignore}pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)")
    assert main(["--minutes=0.02"]) == 1
    assert "main.py did not end within 0.2 s of SIGTERM" in capsys.readouterr().err
    assert not Path(f"/proc/{pid.read_text()}").exists()
