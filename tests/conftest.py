"""Fixtures and settings shared by all tests."""

import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before any test imports TensorFlow
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as programs do, whatever the CPU
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # on a machine with GPUs too, unless they are asked for

import coverage
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.trained import classifier, made_once
from tests.trained import detector as trained_detector

ROOT = Path(__file__).resolve().parent.parent
LONGEST = "tests/torture/"
TIMM_SIDE = ROOT / "tests" / "model" / "oracle" / "timm_side.py"

# Tests send SIGINT to themselves and to their child processes; a suite in the background would inherit ignoring it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def scope_of(nodeid: str) -> str:
    """Returns the unit of work of one pytest-xdist process: a file, or a folder whose files share processes."""
    return "tests/distributed" if nodeid.startswith("tests/distributed/") else nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    class ByScope(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return scope_of(nodeid)

    return ByScope(config, log)


def pytest_collection_modifyitems(config, items):
    """Puts long tests first, so that all processes end at about the same time."""
    if hasattr(config, "workerinput"):
        slow = Counter(scope_of(item.nodeid) for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: (not item.nodeid.startswith(LONGEST), -slow[scope_of(item.nodeid)]))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish():
    """Saves the lines that this process has run: pytest-xdist kills one that takes 10 s to end."""
    measured = coverage.Coverage.current()
    if measured is not None:
        measured.save()


@pytest.fixture(autouse=True)
def root_level():
    """Undoes what a launch within a test makes of the level of messages, which would silence later tests."""
    root = logging.getLogger()
    before = root.level
    yield
    root.setLevel(before)


@pytest.fixture(scope="session", autouse=True)
def no_measured_convolutions():
    """Hides the table of this machine from trainings in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("utils.convolution_table.user_cache", lambda: ROOT / "no cache")
        yield


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of real photographs, named by SAMPLE_DATA."""
    folder = Path(os.environ.get("SAMPLE_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "clothing").is_dir():
        pytest.skip(f"no sample data in {folder} (SAMPLE_DATA)")
    return folder


@pytest.fixture(scope="session")
def sound(tmp_path_factory) -> Path:
    """A folder with ``data`` (20 training and 10 validation examples of three classes) and ``trained``, a run on it."""
    return made_once(tmp_path_factory, "classifier", classifier)


@pytest.fixture(scope="session")
def data_dir(sound) -> Path:
    """20 training and 10 validation examples of three classes, with a manifest. Read-only."""
    return sound / "data"


@pytest.fixture(scope="session")
def trained(sound) -> Path:
    """The results of one epoch of training and its evaluation: checkpoint 5, best/, log.json. Read-only."""
    return sound / "trained"


@pytest.fixture(scope="session")
def sound_detector(tmp_path_factory) -> Path:
    """A folder with ``data`` (ten training scenes, six of them for evaluation) and ``trained``, a run on it."""
    return made_once(tmp_path_factory, "detector", trained_detector)


@pytest.fixture(scope="session")
def scenes(sound_detector) -> Path:
    """Ten training scenes, six of them for evaluation, with a manifest. Read-only."""
    return sound_detector / "data"


@pytest.fixture(scope="session")
def detector(sound_detector) -> Path:
    """The results of 60 steps of training on the scenes. Read-only."""
    return sound_detector / "trained"


@pytest.fixture
def python() -> str:
    """The interpreter that runs the tests, for starting the program."""
    return sys.executable


@pytest.fixture
def listening(caplog):
    """``caplog`` with progress messages included."""
    caplog.set_level("INFO")


@pytest.fixture(scope="session")
def oracle():
    """The interpreter that has torch and timm."""
    named = os.environ.get("ORACLE_PYTHON")
    interpreter = named or sys.executable
    check = subprocess.run([interpreter, TIMM_SIDE, "--check"], capture_output=True, text=True, check=False)
    if check.returncode:
        reason = f"{interpreter}: {check.stderr.strip().splitlines()[-1]}"
        if named:
            pytest.fail(f"ORACLE_PYTHON has no torch and timm: {reason}")
        pytest.skip(f"no torch and timm; ORACLE_PYTHON can name an interpreter that has them: {reason}")
    return interpreter
