"""Commands whose output nobody reads to the end: no traceback, and nothing on the console."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PRINTING = "import sys; from tools.command import run_command; sys.exit(run_command(lambda: print(1, flush=True)))"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("main.py", "--help", "all"), 0),
        (("object_detection/model_main.py", "--help"), 0),
        (("-m", "tools"), 0),
        (("-c", PRINTING), 1),
    ],
)
def test_a_reader_may_end_early(arguments, status, unbuffered):
    read, write = os.pipe()
    os.close(read)
    environ = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (status, "")
