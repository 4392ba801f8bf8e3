"""The launcher starts processes, passes signals on, and ends all of them when one fails."""

import contextlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.conftest import ROOT
from tools import launch
from tools.launch import main

SAY = 'echo "$LAUNCH_RANK of $LAUNCH_SIZE in $LAUNCH_JOB"'


def bash(code):
    return ["bash", "-c", code]


def test_each_process_learns_its_place_and_flags_arrive_unread(capfd):
    assert main(["-np", "3", *bash(SAY.replace('JOB"', 'JOB $*"')), "-", "--arch=x", "-np", "7"]) == 0
    lines = sorted(capfd.readouterr().out.splitlines())
    job = lines[0].split()[4]
    assert lines == [f"{rank} of 3 in {job} --arch=x -np 7" for rank in range(3)]


def test_two_launches_have_different_names(capfd):
    for _ in range(2):
        assert main(["-np", "1", *bash(SAY)]) == 0
    assert len(set(capfd.readouterr().out.splitlines())) == 2


@pytest.mark.parametrize(
    ("code", "status"),
    [("exit 0", 0), ("exit $LAUNCH_RANK", 1), ("exit 75", 75), ('[ "$LAUNCH_RANK" = 0 ] || kill -KILL $$', 137)],
)
def test_the_status_is_that_of_the_process_that_failed(code, status):
    assert main(["-np", "2", *bash(code)]) == status


def test_those_that_outlive_a_failed_one_are_ended(monkeypatch):
    monkeypatch.setattr(launch, "GRACE_S", 0.2)
    began = time.monotonic()
    assert main(["-np", "2", *bash('[ "$LAUNCH_RANK" = 0 ] && exit 3; trap "" TERM; exec sleep 60')]) == 3
    assert time.monotonic() - began < 20


def test_a_process_that_a_signal_ended_is_named(capfd):
    assert main(["-np", "2", *bash('[ "$LAUNCH_RANK" = 0 ] || kill -KILL $$')]) == 137
    assert capfd.readouterr().err == "rank 1: was ended by SIGKILL\n"


def test_what_a_failed_process_has_started_ends_with_it(tmp_path):
    assert main(["-np", "1", *bash(f"sleep 600 & echo $! > {tmp_path}/pid; exit 3")]) == 3
    with contextlib.suppress(psutil.NoSuchProcess):
        left = psutil.Process(int((tmp_path / "pid").read_text()))
        psutil.wait_procs([left], timeout=20)
        assert left.status() == psutil.STATUS_ZOMBIE  # nobody asks for its status


def test_suspended_processes_end_at_the_second_request():
    code = "import os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.write(1, b'ready\\n'); "
    code += "os.kill(os.getpid(), signal.SIGSTOP); signal.pause()"
    waiting = [sys.executable, "-c", f"import tools.launch as l; l.GRACE_S = 0.2; l.sys.exit(l.main({['-np', '2']!r} +"]
    waiting[-1] += f" [l.sys.executable, '-S', '-c', {code!r}]))"
    with under_way(waiting) as process:
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
        assert process.wait(20) == 137


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-np", "0", "true"], "-np 0: must be a positive integer"),
        (["-np", "2"], "no COMMAND to start; for example: python -m tools.launch -np 2 python main.py --help"),
        (["-np", "2", "/no/program", "--x"], "/no/program: cannot be started: No such file or directory"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments, sentence, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"error: {sentence}\n"


def waiting_for(number):
    """The command of a launch whose two processes say "ready", wait for a signal, say "got it" and end with 75."""
    code = f"import os, signal; chosen = {{{int(number)}}}; signal.pthread_sigmask(signal.SIG_BLOCK, chosen); "
    code += r"os.write(1, b'ready\n'); signal.sigwait(chosen); os.write(1, b'got it\n'); os._exit(75)"
    return [sys.executable, "-m", "tools.launch", "-np", "2", sys.executable, "-S", "-c", code]


@contextlib.contextmanager
def under_way(command):
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_reaches_every_process(number):
    with under_way(waiting_for(number)) as process:
        process.send_signal(number)
        assert process.stdout.read() == "got it\n" * 2
    assert process.returncode == 75


def test_a_killed_launcher_leaves_nothing_behind():
    with under_way(waiting_for(signal.SIGTERM)) as process:
        process.kill()
        assert process.stdout.read() == "got it\n" * 2  # the pipe is closed once both have ended
