"""Evaluation: a checkpoint's metrics over a split, each example counted once, and the speed it went at."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.graphs import NetworkAlone, build_eval_graph, shard_of
from runtime.loop import run_loop
from runtime.task import Evaluator, Setup
from utils.config import EMA, RAW
from utils.errors import RunError
from utils.hooks.hook import Hook, StepRecord
from utils.hvd_utils import Communicator
from utils.input.batching import STATUS_OK, Position
from utils.weights.checkpoint_contents import (
    Names,
    averages_or_raw,
    has_averages,
    load_matched,
    match_variables,
    stored_shapes,
)

tf1 = tf.compat.v1
_log = logging.getLogger(__name__)


class Evaluation:
    """The evaluation graph and session of a process, used for as many checkpoints as come along.

    Args:
        setup: What is evaluated.
        communicator: The processes that share the split, of which rank 0 reads the weights.

    Attributes:
        prefix: The prefix of the checkpoint that was loaded last.
        examples: Pictures of some examples with what it predicts, by tag, once somebody has drawn them.
    """

    def __init__(self, setup: Setup, communicator: Communicator) -> None:
        self._setup = setup
        self._communicator = communicator
        graph = tf.Graph()
        with graph.as_default():
            data = setup.task.data.input("validation", shard_of(communicator), Position())
        self.graph = build_eval_graph(setup.task, data, graph, communicator)
        self.weights = RAW
        """The weights of the checkpoint that are evaluated, known to rank 0: "raw", or "ema" for their averages."""
        self._session = tf1.Session(graph=graph, config=setup.session_config)
        self._session.run(self.graph.initializer)
        self._has_weights = False
        self.prefix = Path()
        self.examples: Mapping[str, Any] = {}

    def close(self) -> None:
        self._session.close()

    def load(self, prefix: Path) -> None:
        """Takes the weights of a checkpoint, and shows what became of each the first time; an artefact has its own.

        Raises:
            RunError: It is damaged, or of another network.
        """
        if self._communicator.rank == 0 and self.graph.variables:
            which = self._setup.config.moving_average.eval_weights
            self.weights, table = load_weights(self._session, self.graph, prefix, which)
            _log.log(logging.DEBUG if self._has_weights else logging.INFO, "%s:\n%s", prefix, table)
        self._session.run(self.graph.take_over)
        self._has_weights = True
        self.prefix = prefix

    def run(self, hooks: Sequence[Hook], batches: int | None = None, *, repeat: bool = False) -> Evaluator | None:
        """Evaluates this process's part of the split, or ``batches`` of it.

        Args:
            hooks: Observers.
            batches: Stop after so many.
            repeat: Begin the split again until there were ``batches``.

        Returns:
            What has seen the examples of all processes; None where a hook of any of them wanted to stop.
        """
        found: list[Evaluator | None] = self._communicator.gather(self._run(hooks, batches, repeat=repeat))
        first, *others = found
        if first is None or None in others:
            return None
        for other in others:
            first.merge(other)
        return first

    def _run(self, hooks: Sequence[Hook], batches: int | None, *, repeat: bool) -> Evaluator | None:
        evaluator = self._setup.task.metrics.evaluator()
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


def load_weights(session: Any, graph: Any, prefix: Path, which: str | None = None) -> tuple[str, str]:
    """Gives all of a graph's variables the values of a checkpoint.

    Args:
        session: The graph's session.
        graph: A graph for evaluation or prediction.
        prefix: The checkpoint.
        which: "raw" for the weights that were trained, "ema" for their moving averages; None for the averages where
            there are any.

    Returns:
        Which it were, and a table of what became of each variable.

    Raises:
        RunError: The checkpoint is damaged, or lacks one of them, or has another shape, or has no averages.
    """
    chosen, averaged = _choice(prefix, which)
    names: Names = graph.stored_names
    if chosen == EMA:
        names = lambda stored: averages_or_raw(graph.stored_names(stored), stored)  # noqa: E731
    found = match_variables(prefix, graph.variables, names)
    found.require({v.op.name for v in graph.variables})
    load_matched(session, graph.saver, graph.variables, found)
    if averaged:
        other = RAW if chosen == EMA else EMA
        kind = "moving averages of the weights" if chosen == EMA else "weights as they were trained"
        _log.info("%s: the %s are used; --eval_weights %s takes the others", prefix, kind, other)
    return chosen, found.table()


def chosen_weights(prefix: Path, which: str | None) -> str:
    """The weights that ``load_weights`` takes: "raw" or "ema"; arguments and errors are its."""
    return _choice(prefix, which)[0]


def _choice(prefix: Path, which: str | None) -> tuple[str, bool]:
    """The choice, and whether there are averages."""
    averaged = has_averages(stored_shapes(prefix))
    if which == EMA and not averaged:
        raise RunError(f"--eval_weights ema: {prefix} has no averages; --ema_decay keeps them where it is trained")
    return which or (EMA if averaged else RAW), averaged
