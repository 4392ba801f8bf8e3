"""Fixtures of the tests of validation."""

import shutil

import pytest


@pytest.fixture
def records(sound, tmp_path):
    """A copy of the module's fault-free records to damage."""
    return shutil.copytree(sound, tmp_path / "records")
