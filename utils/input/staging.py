"""Batches staged on the device: the next one is copied there while the network computes on the current one.

A staging area is a queue in the memory of a device. Each step takes one batch out of it; meanwhile, a second call of
the session fetches the following batch and puts it in. So the network does not wait for the copy, and it sees the same
batches in the same order as without staging.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import tensorflow as tf

from utils.input.batching import Batch, Input


def staged(data: Input, device: str) -> Input:
    """The batches of ``data`` from staging areas: images on ``device``, all else on the host.

    Running ``stage`` puts a batch in, fetching ``batch`` takes one out; both areas must take part each time. Labels and
    boxes stay on the host, since they are small, and the row numbers since they are fetched.
    """
    images, others = data.batch.images, tuple(data.batch)[1:]
    with tf.name_scope("staging") as scope:  # its name is unique in the graph, as those of the areas must be
        on_device = _Area(f"{scope}images", device, [images])
        on_host = _Area(f"{scope}others", "/CPU:0", tf.nest.flatten(others))
        batch = Batch(*on_device.values, *tf.nest.pack_sequence_as(others, on_host.values))
        with tf.device("/CPU:0"):
            wait_seconds = tf.zeros([], tf.float64)  # BatchesAhead measures the wait
        return replace(
            data,
            batch=batch,
            stage=tf.group(on_device.put, on_host.put, name="stage"),
            initializer=tf.group(data.initializer, on_device.clear, on_host.clear),
            wait_seconds=wait_seconds,
        )


class _Area:
    """A staging area for tensors of the types and shapes of ``tensors``."""

    def __init__(self, name: str, device: str, tensors: Sequence[tf.Tensor]) -> None:
        dtypes = [tensor.dtype for tensor in tensors]
        with tf.device(device):
            self.put = tf.raw_ops.Stage(values=tensors, shared_name=name)
            self.values = tf.raw_ops.Unstage(dtypes=dtypes, shared_name=name)
            self.clear = tf.raw_ops.StageClear(dtypes=dtypes, shared_name=name)
        for value, tensor in zip(self.values, tensors, strict=True):
            value.set_shape(tensor.shape)


class BatchesAhead:
    """The batches of an input in a session; if the input is staged, one batch ahead of the network.

    Args:
        session: The session.
        data: The input.
    """

    def __init__(self, session: Any, data: Input) -> None:
        self._session = session
        self._data = data
        self._thread = ThreadPoolExecutor(1, "staging")
        self._pending: Future[Any] | None = None

    def restart(self) -> None:
        """Begins the input anew."""
        if self._pending is not None:
            self._pending.exception()
            self._pending = None
        self._session.run(self._data.initializer)

    def wait(self, *, more: bool) -> float:
        """Waits until a batch is staged and, if there are to be ``more``, begins to stage the following one.

        Returns:
            The seconds waited.

        Raises:
            tf.errors.OpError: The input ended or failed before this batch, whose predecessors are complete.
        """
        if self._data.stage is None:
            return 0.0
        began = time.perf_counter()
        pending, self._pending = self._pending or self._begin(), None
        pending.result()
        if more:
            self._pending = self._begin()
        return time.perf_counter() - began

    def _begin(self) -> Future[Any]:
        return self._thread.submit(self._session.run, self._data.stage)

    def close(self) -> None:
        """Waits for the batch that is being staged; only then may the session be closed."""
        self._thread.shutdown()
