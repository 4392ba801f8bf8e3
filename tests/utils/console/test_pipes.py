import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


def test_a_page_that_cannot_be_written_is_a_sentence_and_status_1():
    code = "from utils.console.pipes import show_page; show_page('help')"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")
