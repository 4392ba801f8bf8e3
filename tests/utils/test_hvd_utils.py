"""A single process is rank 0 of 1; several are connected, or rejected with the missing requirement."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import tensorflow as tf

from tests.distributed.communicator_contract import check
from utils.errors import UsageError
from utils.hvd_utils import LAUNCHER_SIZES, buckets, communicator, fair_share, launched_processes


def test_one_process_is_rank_0_of_1_and_keeps_the_contract():
    alone = communicator({})
    assert (alone.rank, alone.local_rank, alone.size) == (0, 0, 1)
    check(alone)


@pytest.mark.parametrize("name", LAUNCHER_SIZES)
def test_a_launcher_of_one_process_is_fine(name):
    assert communicator({name: "1"}).size == 1


@pytest.mark.parametrize("value", ["", "0", "unset", "4(x2)"])
def test_a_variable_that_holds_no_count_is_no_launcher(value):
    assert launched_processes(dict.fromkeys(LAUNCHER_SIZES, value)) == (1, "")


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "HOROVOD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_without_horovod_several_processes_are_refused_with_the_variable_that_tells(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "horovod.tensorflow", None)
    with pytest.raises(
        UsageError, match=rf"{name}=2: 2 processes were launched, and Horovod, .* cannot be loaded"
    ) as it:
        communicator({name: "2"})
    assert "`bash utils/install_horovod.sh`" in str(it.value)


def test_processes_that_horovod_does_not_connect_are_refused(monkeypatch):
    library = ModuleType("horovod.tensorflow")
    library.init, library.size = lambda: None, lambda: 1
    monkeypatch.setitem(sys.modules, "horovod", SimpleNamespace(tensorflow=library))
    monkeypatch.setitem(sys.modules, "horovod.tensorflow", library)
    with pytest.raises(UsageError, match="SLURM_STEP_NUM_TASKS=4: 4 processes were launched, but Horovod connects 1"):
        communicator({"SLURM_STEP_NUM_TASKS": "4"})


def test_gradients_travel_in_the_same_groups_always_the_last_ones_first(monkeypatch):
    monkeypatch.setattr("utils.hvd_utils.BUCKET_VALUES", 10)
    kinds = (("float32", 8), ("float32", 1), ("float16", 3), ("float32", 9), ("float32", 2), ("float32", 1))
    with tf.Graph().as_default():
        pairs = [(tf.zeros(size, dtype), tf.zeros(size, dtype, name=f"v{n}")) for n, (dtype, size) in enumerate(kinds)]
    found = [[int(variable.op.name[1:]) for _, variable in group] for group in buckets(pairs)]
    assert found == [[5, 4, 3], [2], [1, 0]]
    assert buckets([]) == []


@pytest.mark.parametrize(
    ("allowed", "shares"),
    [
        ([("a", range(8))], [8]),
        ([("a", range(8)), ("a", range(8))], [4, 4]),
        ([("a", range(8)), ("b", range(6))], [8, 6]),
        ([("a", range(4)), ("a", range(4)), ("a", range(4, 8))], [2, 2, 4]),  # bound to sockets
        ([("a", [0]), ("a", [1])], [1, 1]),
        ([("a", range(2))] * 4, [1, 1, 1, 1]),
        ([("a", range(3))] * 3, [1, 1, 1]),
    ],
)
def test_processes_share_the_processors_that_they_may_use(allowed, shares):
    assert [fair_share(allowed, rank) for rank in range(len(allowed))] == shares
