"""Communicators for tests that run in one process."""

from runtime.stopping import Stopping
from utils.hooks.preemption import PreemptionHook
from utils.hvd_utils import SerialCommunicator

ALONE = SerialCommunicator()


class Pretended(SerialCommunicator):
    """One of several processes that all behave the same."""

    def __init__(self, size, rank=0, local_rank=None, threads=2):
        self.size, self.rank, self.threads = size, rank, threads
        self.local_rank = rank if local_rank is None else local_rank

    def gather(self, value):
        return [value] * self.size


def never_stopping(communicator=ALONE):
    """A preemption hook without signals."""
    return Stopping(PreemptionHook(), communicator)
