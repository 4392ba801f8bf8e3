"""Data that the processes share."""

from pathlib import Path

import pytest

from tests.distributed.launching import need_horovod
from tests.runtime.runs import write_data
from tests.runtime.scenes import write_scenes


@pytest.fixture(autouse=True, scope="session")
def _horovod() -> None:
    need_horovod()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Records for classification: 40 to train on in two files, 13 to evaluate."""
    return write_data(tmp_path_factory.mktemp("pictures"), train=40, validation=13)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """Records for detection: 10 to train on, 6 to evaluate."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder)
    return folder
