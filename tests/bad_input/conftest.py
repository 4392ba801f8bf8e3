"""Data and weights to damage."""

import shutil
from pathlib import Path

import pytest

from tests.runtime.runs import write_data


@pytest.fixture
def data(tmp_path) -> Path:
    """A data set for one test to damage."""
    return write_data(tmp_path / "data")


@pytest.fixture
def trained(sound, tmp_path) -> Path:
    """A copy of the trained results for one test to damage or continue."""
    return Path(shutil.copytree(sound / "trained", tmp_path / "trained"))
