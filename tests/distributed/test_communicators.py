"""Connected processes keep the same contract as a single process."""

import pytest

from tests.distributed.launching import launched

pytestmark = pytest.mark.slow
WITHOUT_HOROVOD = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "horovod" else find(name, *more)
from tests.distributed.communicator_contract import keep
keep([])
"""


@pytest.mark.parametrize(("pool", "size"), [("local", 2), ("two", 2), ("four", 4)])
def test_connected_processes_keep_the_contract(pool, size, tmp_path, request):
    ended = request.getfixturevalue(pool)(tmp_path, program="contract")
    assert ended.status == 0, ended.text
    for rank in range(size):
        assert f"rank {rank} of {size} keeps the contract" in ended.text


def test_without_horovod_mpiexecs_processes_keep_the_contract(tmp_path):
    ended = launched(3, tmp_path, program=("-c", WITHOUT_HOROVOD))
    assert ended.status == 0, ended.text
    for rank in range(3):
        assert f"rank {rank} of 3 keeps the contract" in ended.text
    assert "horovod" not in ended.text.lower()
