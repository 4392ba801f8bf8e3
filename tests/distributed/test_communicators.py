"""Processes that Horovod connects keep the contract that one process keeps alone."""

import pytest

from tests.distributed.launching import launched

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", [2, 3])
def test_connected_processes_keep_the_contract(size, tmp_path):
    ended = launched(size, tmp_path, program=("-m", "tests.distributed.communicator_contract"))
    assert ended.status == 0, ended.text
    for rank in range(size):
        assert f"rank {rank} of {size} keeps the contract" in ended.text
