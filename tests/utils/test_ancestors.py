"""The processes above this one."""

import os
import subprocess
import sys

from tests.conftest import ROOT
from utils.ancestors import Process, _fields, ancestor

CHILD = "from utils.ancestors import ancestor; found = ancestor('launcher'); print(found.pid, found.runs)"
LAUNCHER = f"""
import os, subprocess, sys
print(os.getpid(), flush=True)
subprocess.run(["bash", "-c", '"$@"; true', "bash", sys.executable, "-c", {CHILD!r}], check=True)
"""


def test_a_program_far_above_is_found_by_the_name_of_its_script(tmp_path):
    (tmp_path / "launcher").write_text(LAUNCHER)
    command = [sys.executable, tmp_path / "launcher"]
    told = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    pid, found, runs = told.stdout.split()
    assert (found, runs) == (pid, "True")


def test_what_is_not_above_is_not_found():
    assert ancestor("no-such-program") is None
    assert ancestor("launcher", "0") is None


def test_a_process_that_has_ended_does_not_run(tmp_path):
    (tmp_path / "launcher").write_text("import sys; print(flush=True); sys.stdin.readline()")
    command = [sys.executable, tmp_path / "launcher"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        known = Process(process.pid, _fields(process.pid)[19])
        assert known.runs
        assert not Process(process.pid, "another start").runs
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not known.runs  # though nobody has taken its status yet
        process.wait()
        assert not known.runs
