"""A single process is rank 0 of 1; several are connected, or rejected with the missing requirement."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import tensorflow as tf

from tests.distributed.communicator_contract import check
from utils import hvd_utils
from utils.errors import UsageError
from utils.hvd_utils import (
    LAUNCHER_SIZES,
    HorovodCommunicator,
    LocalCommunicator,
    SerialCommunicator,
    buckets,
    communicator,
    gpu_warning,
    launched_processes,
)


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


LAUNCH = {"LAUNCH_SIZE": "2", "LAUNCH_RANK": "0", "LAUNCH_JOB": "job"}
OPEN_MPI = {f"OMPI_COMM_WORLD_{name}": "2" for name in ("SIZE", "RANK", "LOCAL_SIZE", "LOCAL_RANK")}
OPEN_MPI |= {"PMIX_NAMESPACE": "job"}


@pytest.mark.parametrize(
    ("environ", "horovod", "chosen"),
    [
        (LAUNCH, True, "local"),
        (LAUNCH, False, "local"),
        (LAUNCH | OPEN_MPI, True, "local"),  # an allocation's own launcher started tools.launch
        (OPEN_MPI, True, "horovod"),
        (OPEN_MPI, False, "local"),
        (OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}, False, "horovod"),  # on two machines
        ({"SLURM_STEP_NUM_TASKS": "2"}, False, "horovod"),
    ],
)
def test_processes_of_one_machine_need_no_horovod(environ, horovod, chosen, monkeypatch):
    monkeypatch.setattr(hvd_utils, "find_spec", lambda name: name if horovod else None)
    monkeypatch.setattr(hvd_utils, "HorovodCommunicator", lambda *_, **__: "horovod")
    monkeypatch.setattr(hvd_utils, "LocalCommunicator", lambda *_, **__: "local")
    assert communicator(environ) == chosen


def test_processes_that_horovod_does_not_connect_are_refused(monkeypatch):
    library = ModuleType("horovod.tensorflow")
    library.init, library.size = lambda: None, lambda: 1
    monkeypatch.setitem(sys.modules, "horovod", SimpleNamespace(tensorflow=library))
    monkeypatch.setitem(sys.modules, "horovod.tensorflow", library)
    with pytest.raises(UsageError, match="SLURM_STEP_NUM_TASKS=4: 4 processes were launched, but Horovod connects 1"):
        communicator({"SLURM_STEP_NUM_TASKS": "4"})


def test_gradients_travel_in_the_same_groups_always_the_last_ones_first(monkeypatch):
    monkeypatch.setattr("utils.hvd_utils.BUCKET_VALUES", 10)
    kinds = [("float32", size) for size in (8, 1, 3, 6, 9, 2, 1)]
    kinds[2] = ("float16", 3)
    with tf.Graph().as_default():
        pairs = [(tf.zeros(size, dtype), tf.zeros(size, dtype, name=f"v{n}")) for n, (dtype, size) in enumerate(kinds)]
    found = [[int(variable.op.name[1:]) for _, variable in group] for group in buckets(pairs)]
    assert found == [[6, 5, 4], [3], [2], [1, 0]]
    assert buckets([]) == []


@pytest.mark.parametrize(("nccl", "warned"), [(0, True), (23203, False)])
def test_gpus_that_average_through_their_host_are_a_warning(nccl, warned):
    processes = HorovodCommunicator.__new__(HorovodCommunicator)  # without the processes
    processes._hvd = SimpleNamespace(nccl_built=lambda: nccl)
    said = gpu_warning(processes)
    assert said.startswith("Horovod was built without NCCL: gradients pass through the host's memory") is warned
    assert bool(said) is warned


def test_gpus_without_horovod_are_a_warning():
    said = gpu_warning(LocalCommunicator.__new__(LocalCommunicator))  # without the processes
    assert said.startswith("without Horovod, gradients pass through the host's memory, which is slow for GPUs")


def test_one_process_needs_no_nccl():
    assert gpu_warning(SerialCommunicator()) == ""
