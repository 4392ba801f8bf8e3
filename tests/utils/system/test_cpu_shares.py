"""Each process of a machine gets its share of the CPUs that it may use."""

import pytest

from utils.system.cpu_shares import fair_share


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
