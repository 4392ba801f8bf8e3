"""The filter drops messages of TensorFlow's libraries while they load, and nothing else.

The lines are those that TensorFlow 2.19 and 2.21 print, with CUDA and without.
"""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from utils.system.native_messages import is_chatter

NOTICE = b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
INFORMATION = (
    b"I0000 00:00:1795984845.262826   22758 port.cc:153] oneDNN custom operations are on. You may see\n",
    b"I0000 00:00:1758131045.2 3722035 service.cc:148] XLA service 0x7f initialized for platform Host\n",
)
WARNINGS = (
    b"W0000 00:00:1758131437.322781 3722519 computation_placer.cc:177] computation placer already registered.\n",
)
FACTORIES = (
    b"E0000 00:00:1758131437.297298 3722519 cuda_dnn.cc:8579] Unable to register cuDNN factory: Attempting to\n",
    b"E0000 00:00:1758131437.304239 3722519 cuda_blas.cc:1407] Unable to register cuBLAS factory: Attempting to\n",
    b"E0000 00:00:1758131437.304239 3722519 cuda_fft.cc:467] Unable to register cuFFT factory: Attempting to\n",
)
OTHERS = (
    b"E0000 00:00:1758131437.3 3722519 cuda_platform.cc:51] failed call to cuInit: UNKNOWN ERROR (303)\n",
    b"F0000 00:00:1758131437.3 3722519 dso.cc:51] Check failed\n",
    b"ImportError: libcuda.so.1: cannot open shared object file\n",
    b"INFO: a message of this program\n",
    b"I am no message of Abseil's\n",
    b"\n",
)


@pytest.mark.parametrize(
    ("level", "held"),
    [
        (0, ()),
        (1, (NOTICE, *INFORMATION)),
        (2, (NOTICE, *INFORMATION, *WARNINGS)),
        (3, (NOTICE, *INFORMATION, *WARNINGS, *FACTORIES)),
    ],
)
def test_the_level_decides_which_lines_are_held_back(level, held):
    lines = (NOTICE, *INFORMATION, *WARNINGS, *FACTORIES, *OTHERS)
    assert [line for line in lines if is_chatter(line, level)] == list(held)


def standard_error(inside, after="", level=3):
    """Runs code inside and after the filter in a process without TensorFlow; returns exit status and output."""
    code = (
        "import os, signal, subprocess, sys, time\n"
        "from utils.system.native_messages import without_chatter\n"
        f"with without_chatter({level}):\n    {inside}\n{after}"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    return done.returncode, done.stderr


WRITE = f"os.write(2, {b''.join((NOTICE, OTHERS[2], *INFORMATION, OTHERS[0]))!r})"


def test_all_other_lines_arrive_in_their_order_before_what_comes_after():
    status, error = standard_error(WRITE, "os.write(2, b'after\\n')")
    assert (status, error) == (0, OTHERS[2] + OTHERS[0] + b"after\n")


def test_a_debugger_sees_everything():
    assert standard_error(WRITE, level=0) == (0, b"".join((NOTICE, OTHERS[2], *INFORMATION, OTHERS[0])))


@pytest.mark.parametrize(("number", "status"), [("SIGKILL", -signal.SIGKILL), ("SIGABRT", -signal.SIGABRT)])
def test_a_crash_inside_loses_nothing(number, status):
    found = standard_error(f"{WRITE}; os.write(2, b'last words'); os.kill(os.getpid(), signal.{number})")
    assert found == (status, OTHERS[2] + OTHERS[0] + b"last words")


def test_an_error_inside_is_shown():
    status, error = standard_error("print('said', file=sys.stderr); raise ImportError('no such library')")
    assert status == 1
    assert error.startswith(b"said\nTraceback")
    assert error.endswith(b"ImportError: no such library\n")


def test_what_was_started_inside_does_not_keep_the_program_waiting():
    status, error = standard_error(
        "subprocess.Popen(['sleep', '2'], stdout=subprocess.DEVNULL)",
        "began = time.monotonic(); os.write(2, b'after\\n'); sys.exit(time.monotonic() - began > 1.8)",
    )
    assert status == 0
    assert b"after\n" in error


def test_once_tensorflow_is_there_nothing_is_forked():
    code = (
        "import os, sys; sys.modules['tensorflow'] = None; os.fork = None\n"
        "from utils.system.native_messages import without_chatter\n"
        "with without_chatter(3): os.write(2, b'said\\n')"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, env=dict(os.environ))
    assert (done.returncode, done.stderr) == (0, b"said\n")
