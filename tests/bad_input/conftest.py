"""Data and weights, sound ones to read and copies to damage."""

import shutil
from pathlib import Path

import pytest

from tests.runtime.runs import train, write_data


@pytest.fixture
def data(tmp_path) -> Path:
    """A data set of this test's own, to be damaged."""
    return write_data(tmp_path / "data")


@pytest.fixture(scope="session")
def sound(tmp_path_factory) -> Path:
    """A folder with a sound data set ``data`` and the results ``trained`` of five steps on it."""
    folder = tmp_path_factory.mktemp("sound")
    finished = train(write_data(folder / "data"), folder / "trained", "--num_iter=1")
    assert finished.status == 0, finished.error
    return folder


@pytest.fixture
def trained(sound, tmp_path) -> Path:
    """A copy of the trained results, to be damaged or continued."""
    return Path(shutil.copytree(sound / "trained", tmp_path / "trained"))
