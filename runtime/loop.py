"""The loop: runs batches through a graph, observed by hooks. It serves every task and every mode."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from utils.hooks.hook import Hook, StepRecord
from utils.input.staging import BatchesAhead


def run_loop(
    session: Any, graph: Any, hooks: Sequence[Hook], *, start: int, last: int | None, ahead: BatchesAhead | None = None
) -> int:
    """Runs batches until step ``last``, the end of the input, or a hook's request to stop.

    Args:
        session: Session with initialized variables and input.
        graph: A graph of ``runtime.graphs``. If its fetches contain "step", that value is the step, else the batch
            number.
        hooks: Observers, in the order in which they are called.
        start: The step before the first batch.
        last: The step to stop at, or None for the end of the input.
        ahead: Needed if the graph's input is staged.

    Returns:
        The last completed step.
    """
    step, fetches = start, graph.fetches()
    try:
        for hook in hooks:
            hook.begin(start, last)
        done = time.perf_counter()
        while (last is None or step < last) and not any(hook.wants_stop for hook in hooks):
            for hook in hooks:
                hook.before_step()
            began = time.perf_counter()
            try:
                waited = 0.0 if ahead is None else ahead.wait(more=last is None or step + 1 < last)
                values = session.run(fetches)
            except tf.errors.OutOfRangeError:
                break
            ended = time.perf_counter()
            step = int(values.pop("step", step + 1))
            record = StepRecord(
                step=step,
                run_seconds=ended - began,
                seconds=ended - done,
                wait_seconds=waited + float(values.pop("wait_seconds")),
                values=values,
            )
            done = ended
            for hook in hooks:
                hook.after_step(record)
    finally:
        for hook in hooks:
            hook.end()
    return step
