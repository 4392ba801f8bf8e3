"""Fixtures for the tests of the command line and the launcher."""

import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ("bash", "dirname", "sed", "mkdir", "tee", "tr")


@pytest.fixture
def clone(tmp_path):
    """A clone with only the launcher, and a PATH with only the programs that the launcher needs."""
    (tmp_path / "clone" / "utils").mkdir(parents=True)
    shutil.copy(ROOT / "utils" / "launch.sh", tmp_path / "clone" / "utils")
    (tmp_path / "path").mkdir()
    for tool in TOOLS:
        (tmp_path / "path" / tool).symlink_to(shutil.which(tool))
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


@pytest.fixture
def shell(clone):
    """Runs shell code that sources the launcher, from a folder outside the clone."""

    def run(code, **environment):
        return subprocess.run(
            ["bash", "-c", f"source ../clone/utils/launch.sh\n{code}"],
            cwd=clone / "elsewhere",
            env={"PATH": str(clone / "path"), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Writes a recipe to the current folder; returns the argument that names it."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "a.args").write_text(text, encoding="utf-8")
        return "@a.args"

    return write


@pytest.fixture
def started(clone):
    """Starts the launcher in the background, with the signal handling of a terminal."""

    def start(call, number):
        return subprocess.Popen(
            ["bash", "-c", f"source ../clone/utils/launch.sh; {call}"],
            cwd=clone / "elsewhere",
            env={"PATH": str(clone / "path")},
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # the suite itself may run under nohup
        )

    return start
