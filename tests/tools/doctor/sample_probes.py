"""Sample probes: parts that work, are missing, raise, crash, end the process, hang or print."""

import os
import signal
import sys
import time

from tools.doctor.probe import Missing, ProbeResult, Skipped


def works():
    print("noise on the standard output")
    return ProbeResult("3.1, used", {"version": "3.1"})


def is_missing():
    raise Missing("not installed; `pip install it`")


def is_skipped():
    raise Skipped("needs a GPU; TensorFlow finds none")


def named(text):
    return ProbeResult(f"tried {text}")


def raises():
    raise ImportError("libother.so.3: cannot open shared object file\nand more lines")


def ends():
    sys.exit("goodbye")


def crashes():
    print("about to crash", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs():
    time.sleep(1000)


def counts(numbers=iter(range(10))):  # noqa: B008  (the count shows which process answers)
    return ProbeResult(str(next(numbers)))
