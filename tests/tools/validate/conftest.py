"""Fixtures of the tests of validation."""

import shutil

import pytest


@pytest.fixture
def records(sound, tmp_path):
    """A copy of the module's sound records, to be spoiled."""
    return shutil.copytree(sound, tmp_path / "records")
