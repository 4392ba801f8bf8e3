"""One process is rank 0 of 1; several are refused until this release can join them."""

import pytest

from utils.errors import UsageError
from utils.hvd_utils import LAUNCHER_SIZES, communicator


def test_one_process_is_rank_0_of_1():
    alone = communicator({})
    assert (alone.rank, alone.local_rank, alone.size) == (0, 0, 1)
    pairs = [("gradient", "variable")]
    assert alone.average(pairs) == pairs
    assert alone.any(True) is True
    assert alone.any(False) is False


@pytest.mark.parametrize("name", LAUNCHER_SIZES)
def test_a_launcher_of_one_process_is_fine(name):
    assert communicator({name: "1"}).size == 1


@pytest.mark.parametrize("value", ["", "0", "unset", "4(x2)"])
def test_a_variable_that_holds_no_count_is_no_launcher(value):
    assert communicator(dict.fromkeys(LAUNCHER_SIZES, value)).size == 1


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "HOROVOD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_several_processes_are_refused_with_the_variable_that_tells(name):
    with pytest.raises(UsageError, match=rf"{name}=2: 2 processes were launched, and this release trains in one"):
        communicator({name: "2"})
