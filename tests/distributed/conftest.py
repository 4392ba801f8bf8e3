"""Processes and data that the tests share."""

from pathlib import Path

import pytest

from tests.distributed.launching import LOCAL
from tests.distributed.pool import pool_of
from tests.runtime.runs import write_data


@pytest.fixture(scope="package")
def two(tmp_path_factory):
    """Runs main.py with tiny networks in two processes that live as long as these tests."""
    with pool_of(2, tmp_path_factory.mktemp("two") / "errors.txt") as pool:
        yield pool


@pytest.fixture(scope="package")
def four(tmp_path_factory):
    """Like ``two``, in four processes."""
    with pool_of(4, tmp_path_factory.mktemp("four") / "errors.txt") as pool:
        yield pool


@pytest.fixture(scope="package")
def local(tmp_path_factory):
    """Like ``two``, connected without Horovod."""
    with pool_of(2, tmp_path_factory.mktemp("local") / "errors.txt", LOCAL) as pool:
        yield pool


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Records for classification: 40 to train on in two files, 13 to evaluate."""
    return write_data(tmp_path_factory.mktemp("pictures"), train=40, validation=13)
