"""Evaluation of checkpoints: the metrics over a split, each example counted once, and the speed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from runtime.graphs import NetworkAlone, build_eval_graph, shard_of
from runtime.inference.network import Weights
from runtime.inference.onednn import keeps_kernels
from runtime.loop import run_loop
from runtime.session import on_device
from runtime.task import Evaluator, Setup
from utils.config import EMA, RAW
from utils.errors import RunError
from utils.hooks.hook import Hook, StepRecord
from utils.hvd_utils import Communicator
from utils.input.batching import STATUS_OK, Position
from utils.input.staging import BatchesAhead
from utils.weights.checkpoint_contents import (
    averages_or_raw,
    has_averages,
    load_matched,
    match_variables,
    stored_shapes,
)

tf1 = tf.compat.v1
_log = logging.getLogger(__name__)


class Evaluation:
    """The evaluation graph and session of a process, reused for all checkpoints.

    Args:
        setup: The network and data to evaluate.
        communicator: The processes that share the split; rank 0 reads the weights.
        once: Whether weights are loaded only once, which makes the network faster on CPUs.

    Attributes:
        prefix: Prefix of the last loaded checkpoint.
        examples: Pictures of some examples with predictions, by tag; empty until they are drawn.
    """

    def __init__(self, setup: Setup, communicator: Communicator, *, once: bool = False) -> None:
        self._setup = setup
        self._communicator = communicator
        self._once = once
        graph = tf.Graph()
        with graph.as_default():
            data = on_device(setup.task.data.input("validation", shard_of(communicator), Position()), setup.config)
        self.graph = build_eval_graph(setup.task, data, communicator, constant=once and keeps_kernels(setup))
        self.weights = RAW
        """The kind of the evaluated weights, "raw" or "ema" for moving averages; set on rank 0 only."""
        self._session = tf1.Session(graph=graph, config=setup.session_config)
        self._ahead = BatchesAhead(self._session, data)
        self._has_weights = False
        self.prefix = Path()
        self.examples: Mapping[str, Any] = {}

    def close(self) -> None:
        self._ahead.close()
        self._session.close()

    def load(self, prefix: Path) -> None:
        """Loads the weights of a checkpoint and logs the load table the first time; an artefact has its own weights.

        Raises:
            RunError: The checkpoint is damaged or belongs to another network.
        """
        self._load(self._restore(prefix) if self._communicator.rank == 0 else None)
        self.prefix = prefix

    def _restore(self, prefix: Path) -> Callable[[Any, Weights], None]:
        def restore(session: Any, weights: Weights) -> None:
            which = self._setup.config.moving_average.eval_weights
            self.weights, table = load_weights(session, weights, prefix, which)
            _log.log(logging.DEBUG if self._has_weights else logging.INFO, "%s:\n%s", prefix, table)

        return restore

    def _load(self, restore: Callable[[Any, Weights], None] | None) -> None:
        if self._once and self._has_weights:
            raise ValueError("this evaluation loads weights once; its network would keep the former kernels")
        self.graph.network.load(self._session, self._setup.session_config, restore)
        self._has_weights = True

    def run(self, hooks: Sequence[Hook], batches: int | None = None, *, repeat: bool = False) -> Evaluator | None:
        """Evaluates this process's part of the split, or ``batches`` of it.

        Args:
            hooks: Observers.
            batches: Number of batches to stop after.
            repeat: Restart the split until ``batches`` are done.

        Returns:
            The evaluator of the examples of all processes; None if a hook in any of them requested a stop.
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
            self._ahead.restart()
            done = self._loop(self.graph, watchers, step, batches)
            if any(hook.wants_stop for hook in hooks):
                return None
            ended = done in (step, batches)
            step = done
            if ended or not repeat:
                return evaluator

    def run_network(self, hooks: Sequence[Hook], batches: int) -> None:
        """Runs only the network on ``batches`` batches and restarts the split as often as necessary."""
        step = 0
        while step < batches and not any(hook.wants_stop for hook in hooks):
            self._ahead.restart()
            step = self._loop(NetworkAlone(self.graph), hooks, step, batches)

    def _loop(self, graph: Any, hooks: Sequence[Hook], start: int, last: int | None) -> int:
        if not self._has_weights:
            self._load(None)
        return run_loop(self._session, graph, hooks, start=start, last=last, ahead=self._ahead)


class _EvaluatorHook(Hook):
    """Passes the rows of real examples to an evaluator."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator

    def after_step(self, record: StepRecord) -> None:
        real = np.asarray(record.values["status"]) == STATUS_OK
        rows: Mapping[str, Any] = {name: np.asarray(value)[real] for name, value in record.values.items()}
        self._evaluator.update(rows)


def load_weights(session: Any, weights: Weights, prefix: Path, which: str | None = None) -> tuple[str, str]:
    """Loads all variables of a network from a checkpoint.

    Args:
        session: Session of the variables' graph.
        weights: The variables.
        prefix: Prefix of the checkpoint.
        which: "raw" for the trained weights, "ema" for their moving averages; None for the averages if there are any.

    Returns:
        The kind of the loaded weights, and the load table.

    Raises:
        RunError: The checkpoint is damaged, lacks a variable, has another shape, or has no moving averages.
    """
    chosen, averaged = _choice(prefix, which)
    names = weights.stored_names
    if chosen == EMA:
        names = lambda stored: averages_or_raw(weights.stored_names(stored), stored)  # noqa: E731
    found = match_variables(prefix, weights.variables, names)
    found.require({v.op.name for v in weights.variables})
    load_matched(session, weights.saver, weights.variables, found)
    if averaged:
        other = RAW if chosen == EMA else EMA
        kind = "moving averages of the weights" if chosen == EMA else "trained weights"
        _log.info("%s: using the %s; --eval_weights %s uses the others", prefix, kind, other)
    return chosen, found.table()


def restoring(setup: Setup, prefix: Path) -> Callable[[Any, Weights], object]:
    """A function for ``InferenceNetwork.load`` that loads the weights of a checkpoint as the setup's flags ask."""
    return lambda session, weights: load_weights(session, weights, prefix, setup.config.moving_average.eval_weights)


def chosen_weights(prefix: Path, which: str | None) -> str:
    """The kind of weights that ``load_weights`` loads, "raw" or "ema"; same arguments and errors."""
    return _choice(prefix, which)[0]


def _choice(prefix: Path, which: str | None) -> tuple[str, bool]:
    """The kind of weights to load, and whether the checkpoint has moving averages."""
    averaged = has_averages(stored_shapes(prefix))
    if which == EMA and not averaged:
        raise RunError(f"--eval_weights ema: {prefix} has no moving averages; training with --ema_decay stores them")
    return which or (EMA if averaged else RAW), averaged
