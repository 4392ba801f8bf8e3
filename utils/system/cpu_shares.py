"""The share of a machine's CPUs that belongs to each of its processes (no TF)."""

from __future__ import annotations

from collections.abc import Sequence


def fair_share(allowed: Sequence[tuple[str, Sequence[int]]], rank: int) -> int:
    """The number of threads that a process may keep busy.

    Args:
        allowed: Host and usable CPUs of each process, by rank.
        rank: Rank of the process.

    Returns:
        The sum over its CPUs of 1 / (number of processes that may use the CPU); at least 1.
    """
    host, cpus = allowed[rank]
    neighbours = [set(theirs) for name, theirs in allowed if name == host]
    return max(1, int(sum(1 / sum(cpu in theirs for theirs in neighbours) for cpu in cpus) + 1e-6))
