import sys
import time
from pathlib import Path

import pytest

from tests.tools.measure.compare.fakes import mortal, steady
from tools.measure.compare import protocol, turns
from tools.measure.compare.turns import Contestant, Match, disagreements


@pytest.fixture(autouse=True)
def in_haste(monkeypatch):
    monkeypatch.setattr(turns, "PAUSE_S", 0.0)
    monkeypatch.setattr(turns, "SHORTEST_TURN_S", 0.0)


def has_ended(pid):
    """Tells if a process is gone, or only waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] in "ZX"
    except OSError:
        return True


def test_all_are_alive_at_once_and_each_round_is_begun_by_another(monkeypatch):
    order = []
    turn = turns.Worker.turn
    monkeypatch.setattr(
        turns.Worker, "turn", lambda self, steps: order.append((self.contestant.name, steps)) or turn(self, steps)
    )
    with Match(2) as match:
        for name in "abc":
            match.enter(steady(name), 4)
        assert all(worker._process.poll() is None for worker in match._workers.values())
        order.clear()
        match.play(4)
        processes = [worker._process for worker in match._workers.values()]
    assert "".join(name for name, _ in order) == "abcbcacababc"
    assert {steps for _, steps in order} == {4}
    assert [process.returncode for process in processes] == [0, 0, 0]


def test_speeds_are_work_over_the_seconds_of_a_step():
    with Match(2) as match:
        match.enter(steady("counted", 0.5, work=16.0, version="1.2"), 4)
        match.play(3)
    score = match.scores["counted"]
    assert score.seconds == [0.5, 0.5, 0.5]
    assert score.speeds == [32.0, 32.0, 32.0]
    assert score.facts == {"version": "1.2"}
    assert score.peak_mb > 1
    assert score.start_s > 0
    assert all(0 <= seconds < 1 for seconds in score.processor_s)


def test_short_steps_fill_a_turn(monkeypatch):
    monkeypatch.setattr(turns, "SHORTEST_TURN_S", 2.0)
    with Match(2) as match:
        match.enter(steady("fast", 0.1), 4)
        match.enter(steady("slow", 3.0), 4)
        match.enter(steady("peak", 0.1), 4, extend=False)
    assert {name: score.steps for name, score in match.scores.items()} == {"fast": 20, "slow": 4, "peak": 4}


@pytest.mark.parametrize("calls", [0, 1, 3])
def test_a_contestant_that_dies_is_named_with_its_last_words_and_the_others_go_on(calls):
    with Match(2) as match:
        match.enter(mortal("unlucky", calls), 1)
        match.enter(steady("lucky"), 1)
        match.play(4)
    assert match.died == {"unlucky": "died: ended with status 9: out of memory, I fear"}
    assert len(match.scores["lucky"].seconds) == 4
    assert "unlucky" not in match.scores


def test_a_contestant_that_is_killed_or_cannot_be_started_is_named_too(tmp_path):
    killed = "import os; os.kill(os.getpid(), 9)"
    with Match(2) as match:
        match.enter(Contestant(name="killed", command=(sys.executable, "-c", killed), peer=True), 1)
        match.enter(Contestant(name="absent", command=(str(tmp_path / "python"),), peer=True), 1)
        match.play(1)
    assert match.died == {
        "killed": "died: killed by SIGKILL",
        "absent": f"died: {tmp_path}/python: No such file or directory",
    }


def test_a_contestant_that_falls_silent_is_killed(monkeypatch):
    monkeypatch.setattr(turns, "START_S", 0.3)
    asleep = "import time; time.sleep(60)"
    with Match(2) as match:
        match.enter(Contestant(name="asleep", command=(sys.executable, "-c", asleep), peer=True), 1)
    assert match.died == {"asleep": "died: no answer within 0.3 s"}


def test_an_interruption_kills_all_with_their_children(tmp_path):
    pid = tmp_path / "pid"
    parent = (
        "import pathlib, subprocess, sys, time\n"
        "from tools.measure.compare.protocol import say\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "say({'seconds': 1.0}); say({'seconds': 1.0})\n"
        "time.sleep(60)"
    )

    def interrupted():
        with Match(2) as match:
            match.enter(Contestant(name="parent", command=(sys.executable, "-c", parent), peer=True), 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    deadline = time.monotonic() + 10
    while not has_ended(int(pid.read_text())):
        assert time.monotonic() < deadline


def test_contestants_do_the_same_work():
    facts = {"precision": "float32", "output": [1, 1001], "parameters": 7}
    with Match(2) as match:
        match.enter(steady("ours", wanted="float32", **facts), 1)
        match.enter(steady("artefact", wanted="float32", precision="bfloat16", output=[1, 9]), 1)
        match.enter(steady("smaller", peer=True, **(facts | {"parameters": 6})), 1)
        match.enter(steady("wider", peer=True, **(facts | {"output": [1, 1000]})), 1)
        match.enter(steady("equal", peer=True, output=[1, 1001]), 1)
    assert disagreements(match.scores.values()) == {
        "artefact": "computes in bfloat16",
        "smaller": "parameters 6, but 7 of ours",
        "wider": "output [1, 1000], but [1, 1001] of ours",
    }


def test_an_input_counts_no_batch_that_was_made_before_its_turn(monkeypatch):
    made = []
    monkeypatch.setattr(protocol.time, "perf_counter", lambda: float(len(made)))
    assert protocol.from_empty(lambda: made.append(1))(5) == 5.0
    assert len(made) == protocol.RUN_AHEAD + 5
