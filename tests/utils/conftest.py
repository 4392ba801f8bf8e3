"""Fixtures of the tests of the launcher."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ("bash", "dirname", "sed", "mkdir", "tee", "tr")


@pytest.fixture
def clone(tmp_path):
    """A clone that holds nothing but the launcher, and a PATH that holds nothing but what the launcher itself needs."""
    (tmp_path / "clone" / "utils").mkdir(parents=True)
    shutil.copy(ROOT / "utils" / "launch.sh", tmp_path / "clone" / "utils")
    (tmp_path / "path").mkdir()
    for tool in TOOLS:
        (tmp_path / "path" / tool).symlink_to(shutil.which(tool))
    (tmp_path / "elsewhere").mkdir()
    return tmp_path


@pytest.fixture
def shell(clone):
    """Runs shell code that has sourced the launcher, from another folder than the clone."""

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
