"""Processes connected by Horovod keep the same contract as a single process."""

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("pool", "size"), [("two", 2), ("four", 4)])
def test_connected_processes_keep_the_contract(pool, size, tmp_path, request):
    ended = request.getfixturevalue(pool)(tmp_path, program="contract")
    assert ended.status == 0, ended.text
    for rank in range(size):
        assert f"rank {rank} of {size} keeps the contract" in ended.text
