"""What the tests of the conversion of annotations share as fixtures."""

import pytest


@pytest.fixture
def listening(caplog):
    """Has ``caplog`` hear what is said of progress too."""
    caplog.set_level("INFO")
