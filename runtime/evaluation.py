"""Evaluation: a checkpoint's metrics over a split, each example counted once, and the speed it went at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.graphs import build_eval_graph, shard_of
from runtime.loop import run_loop
from runtime.task import Evaluator, NetworkAlone, Setup
from utils.batching import STATUS_OK, Position
from utils.checkpoint_contents import match_variables, restore
from utils.hooks.hook import Hook, StepRecord
from utils.hvd_utils import Communicator

tf1 = tf.compat.v1


class Evaluation:
    """The evaluation graph and session of a process, used for as many checkpoints as come along.

    Args:
        setup: What is evaluated.
        communicator: The processes that share the split, of which rank 0 reads the weights.
    """

    def __init__(self, setup: Setup, communicator: Communicator) -> None:
        self._setup = setup
        self._communicator = communicator
        graph = tf.Graph()
        with graph.as_default():
            data = setup.task.input("validation", shard_of(communicator), Position())
        self.graph = build_eval_graph(setup.task, data, graph, communicator)
        self._session = tf1.Session(graph=graph, config=setup.session_config)
        self._session.run(self.graph.initializer)

    def close(self) -> None:
        self._session.close()

    def load(self, prefix: Path) -> None:
        """Takes the weights of a checkpoint; an artefact has its own.

        Raises:
            RunError: It is damaged, or of another network.
        """
        if self._communicator.rank == 0 and self.graph.variables:
            load_weights(self._session, self.graph, prefix)
        self._session.run(self.graph.take_over)

    def run(self, hooks: Sequence[Hook], batches: int | None = None, *, repeat: bool = False) -> Evaluator | None:
        """Evaluates this process's part of the split, or ``batches`` of it.

        Args:
            hooks: Observers.
            batches: Stop after so many.
            repeat: Begin the split again until there were ``batches``.

        Returns:
            What has seen the examples of all processes; None where a hook of any of them wanted to stop.
        """
        first, *others = self._communicator.gather(self._run(hooks, batches, repeat=repeat))
        if first is None or None in others:
            return None
        for other in others:
            first.merge(other)
        return first

    def _run(self, hooks: Sequence[Hook], batches: int | None, *, repeat: bool) -> Evaluator | None:
        evaluator = self._setup.task.evaluator()
        watchers = [*hooks, _EvaluatorHook(evaluator)]
        step = 0
        while True:
            self._session.run(self.graph.input.initializer)
            done = run_loop(self._session, self.graph, watchers, start=step, last=batches)
            if any(hook.wants_stop for hook in hooks):
                return None
            ended = done in (step, batches)
            step = done
            if ended or not repeat:
                return evaluator

    def run_network(self, hooks: Sequence[Hook], batches: int) -> None:
        """Runs the network alone on ``batches`` batches, beginning the split again as often as it takes."""
        step = 0
        while step < batches and not any(hook.wants_stop for hook in hooks):
            self._session.run(self.graph.input.initializer)
            step = run_loop(self._session, NetworkAlone(self.graph), hooks, start=step, last=batches)


class _EvaluatorHook(Hook):
    """Gives the rows that hold real examples to an evaluator."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def after_step(self, record: StepRecord) -> None:
        real = np.asarray(record.values["status"]) == STATUS_OK
        rows: Mapping[str, Any] = {name: np.asarray(value)[real] for name, value in record.values.items()}
        self._evaluator.update(rows)


def load_weights(session: Any, graph: Any, prefix: Path) -> None:
    """Restores all of a graph's variables.

    Raises:
        RunError: The checkpoint is damaged, or lacks one of them, or has another shape.
    """
    match_variables(prefix, graph.variables).require({v.op.name for v in graph.variables})
    restore(session, graph.saver, prefix)
