"""What the tests of the converter share as fixtures."""

import logging

import pytest

from tests.utils.tiny_images import two_classes


@pytest.fixture
def source(tmp_path):
    """A small data set of two classes, in folders."""
    return two_classes(tmp_path / "source")


@pytest.fixture
def listening(caplog):
    """Has ``caplog`` hear what is said of progress too."""
    caplog.set_level(logging.INFO)
