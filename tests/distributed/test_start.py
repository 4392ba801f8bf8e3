"""A process that freezes or dies while it starts is named, and ends the job; these processes load no TensorFlow."""

import re
import signal
import time

import pytest

from tests.distributed.launching import LOCAL, MPI, started

STARTING = """
import logging, os, time
from utils.local_communicator import place_in
from utils.system.watchdog import Watchdog, Watched
logging.basicConfig(format="%(levelname)s: %(message)s")
with Watchdog(place_in(os.environ), 1.0, Watched(lambda: None, print)) as watchdog:
    while watchdog._awaited() or not watchdog._peers:
        time.sleep(0.01)
    os.write(1, b"watching\\n")
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGSTOP, r"no sign of life for 1 s \(--stall_timeout_s\), during its start"),
        (signal.SIGKILL, "its process has ended, during its start"),
    ],
)
@pytest.mark.parametrize(("launcher", "rank"), [(MPI, 0), (LOCAL, 1)])
def test_a_process_that_freezes_or_dies_while_it_starts_is_named(launcher, rank, number, said, tmp_path):
    with started(2, tmp_path, program=("-c", STARTING), launcher=launcher) as job:
        job.wait_for(lambda: job.text.count("watching") == 2)
        job.rank(rank).send_signal(number)
        began = time.monotonic()
        ended = job.end()
    assert time.monotonic() - began < 20
    assert ended.status != 0
    assert re.search(rf"CRITICAL: rank {rank}: {said}; the job ends", ended.text), ended.text
