"""Fixtures of the tests of tools."""

import pytest

from tests.utils.tiny_images import two_classes


@pytest.fixture
def source(tmp_path):
    """A small data set of two classes, in folders."""
    return two_classes(tmp_path / "source")
