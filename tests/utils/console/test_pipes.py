"""Pages for a standard output that takes no more."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

SHOW = [sys.executable, "-c", "from utils.console.pipes import show_page; show_page('help')"]


def test_a_page_that_nobody_reads_is_no_failure():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(SHOW, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_page_that_cannot_be_written_is_a_sentence_and_status_1():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(SHOW, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")
