"""What all tests share."""

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before any test imports TensorFlow

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Tests send Ctrl-C to themselves and to what they start; a suite started in the background inherits that it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of real photographs, named by SAMPLE_DATA."""
    folder = Path(os.environ.get("SAMPLE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "clothing").is_dir():
        pytest.skip(f"no sample data in {folder} (SAMPLE_DATA)")
    return folder


@pytest.fixture
def python() -> str:
    """The interpreter that runs the tests, for those that start the program itself."""
    return sys.executable


@pytest.fixture
def listening(caplog):
    """Has ``caplog`` hear what is said of progress too."""
    caplog.set_level("INFO")
