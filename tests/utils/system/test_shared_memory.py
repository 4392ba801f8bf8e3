"""Threads in the place of processes exchange bytes and arrays; the means are those of NumPy, to the bit."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from utils.errors import RunError
from utils.system import shared_memory
from utils.system.shared_memory import LOST, Neighbours, SharedMemory


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(shared_memory, "LAST_WORDS_S", 0.0)


def together(size, action, job):
    """The results of ``action(neighbours)`` in ``size`` connected threads, by rank."""

    def act(rank):
        neighbours = Neighbours(rank, size, job, timeout_s=20)
        try:
            return action(neighbours)
        finally:
            neighbours.close()

    with ThreadPoolExecutor(size) as threads:
        return [*threads.map(act, range(size))]


@pytest.fixture
def job(tmp_path):
    return str(tmp_path)[-60:]  # an address has 108 bytes


@pytest.mark.parametrize("size", [2, 3, 5])
def test_all_get_the_contents_of_all_in_the_order_of_ranks(size, job):
    found = together(size, lambda them: them.gather(b"%d" % them.rank * them.rank * 70_000), job)
    assert found == [[b"%d" % rank * rank * 70_000 for rank in range(size)]] * size


def arrays_of(rank, kind):
    generator = np.random.default_rng(rank)
    shapes = [(3, 5), (), (0, 4), (70_001,), (1,), (2, 300, 300)]  # of several blocks, and empty
    return [np.asarray(generator.normal(size=shape)).astype(kind) for shape in shapes]


@pytest.mark.parametrize(("size", "kind"), [(2, "float32"), (3, "float32"), (4, "float64"), (2, "float16")])
def test_means_are_the_sum_in_the_order_of_ranks_divided_by_their_number(size, kind, job):
    def action(them):
        memory = SharedMemory(them)
        mine = arrays_of(them.rank, kind)
        return memory.mean(mine[:2]), memory.mean(mine), memory.mean([-each for each in mine])

    expected = [
        sum(each[1:], start=each[0]) / each[0].dtype.type(size)
        for each in zip(*map(arrays_of, range(size), [kind] * size), strict=True)
    ]
    for few, all_of_them, negated in together(size, action, job):
        for found, signed in ((few, expected[:2]), (all_of_them, expected), (negated, [-each for each in expected])):
            for one, other in zip(found, signed, strict=True):
                assert one.dtype == kind
                np.testing.assert_array_equal(one, other)


def test_results_are_aligned_so_that_tensorflow_does_not_copy_them(job):
    for found in together(2, lambda them: SharedMemory(them).mean(arrays_of(them.rank, "float32")), job):
        assert [array.ctypes.data % 64 for array in found if array.size] == [0] * 5


def test_a_results_memory_is_used_again_only_once_nothing_refers_to_it(job):
    def action(them):
        memory = SharedMemory(them)
        ones, twos = (np.full(200_000, value, np.float32) for value in (1, 2))
        (first,) = memory.mean([ones])
        (second,) = memory.mean([twos])
        assert (first == 1).all()
        assert (second == 2).all()
        place = second.ctypes.data
        del second
        (third,) = memory.mean([ones])
        assert third.ctypes.data == place

    together(2, action, job)


@pytest.mark.parametrize("kind", ["float32", "int64", "bool"])
def test_all_get_rank_0s_array(kind, job):
    def action(them):
        memory = SharedMemory(them)
        return [memory.first(np.full(length, 1 - them.rank % 2, kind)) for length in (3, 100_000, 0, 7)]

    for found in together(3, action, job):
        for array, length in zip(found, (3, 100_000, 0, 7), strict=True):
            assert array.dtype == kind
            np.testing.assert_array_equal(array, np.full(length, 1, kind))


def test_processes_that_average_different_things_are_told(job):
    def action(them):
        memory = SharedMemory(them)
        memory.mean([np.ones(1000, np.float32)])
        with pytest.raises(RunError, match=r"exchange different things: .*1 arrays of 4 bytes"):
            memory.mean([np.ones(1 + them.rank, np.float32)])
        with pytest.raises(RunError, match="cannot share memory: one needs"):
            memory.mean([np.ones(2000 + 2000 * them.rank, np.float32)])

    together(2, action, job)


def test_the_end_of_one_process_ends_the_exchange_of_the_others(job):
    def action(them):
        if them.rank == 1:
            return
        with pytest.raises(RunError, match=LOST):
            them.gather(b"")

    together(3, action, job)


def test_a_process_without_the_others_gives_up(job):
    for rank in (0, 1):
        with pytest.raises(RunError, match=rf"rank {rank}: not all 2 processes were connected within 0.1 s"):
            Neighbours(rank, 2, job, timeout_s=0.1)


def test_processes_of_another_user_are_not_listened_to(job, monkeypatch):
    ours = socket.socket.getsockopt

    def another_users(peer, *arguments):
        content = bytearray(ours(peer, *arguments))
        content[4] ^= 1
        return bytes(content)

    monkeypatch.setattr(shared_memory.socket.socket, "getsockopt", another_users, raising=False)
    with ThreadPoolExecutor(2) as threads:
        ends = [threads.submit(lambda rank: Neighbours(rank, 2, job, 0.5).close(), rank) for rank in (0, 1)]
        for end in ends:
            with pytest.raises(RunError, match="were connected within"):
                end.result()
