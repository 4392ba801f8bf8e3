"""The readable console: a header, aligned lines during training, small tables of results, and their paths.

It shows the same log records as the ``DLL`` lines and omits columns that do not fit (no TF).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from utils.console.figures import duration, isolated, plain_name, plain_paths, significant
from utils.console.screen import Bar, Rows, Screen, Step, Terminal
from utils.console.tables import (
    BATCH,
    EPOCH,
    STEP,
    Column,
    between,
    figures_line,
    figures_table,
    fitting,
    heading_line,
    line,
    pairs,
)
from utils.console.terminal import RichTerminal
from utils.dllogger_utils import PARAMETER, SUMMARY
from utils.metric_names import BEGINNING, INTERVALS, LATENCY, LOSS, RATES, THROUGHPUT, WAITING, heading, interval_of
from utils.text import printable

MOST_EVALUATIONS = 6
_MOST_INTERVALS = 3
_IMPORTANT = (STEP, BATCH, LOSS, *RATES, EPOCH, "learning_rate", WAITING)
_SPEEDS = {"train": "training", "eval": "evaluation", "network": "network alone"}
_IMAGES = "images"


class _Evaluation(NamedTuple):
    epoch: int | None
    step: int
    metrics: Mapping[str, Any]


class ReadableScreen(Screen):
    """The screen for people.

    Args:
        out: The terminal or stream for results.
        bars: As for ``Screen``.
        messages: As for ``Screen``.
    """

    is_readable = True

    def __init__(self, out: RichTerminal, bars: Terminal | None = None, messages: Terminal | None = None) -> None:
        super().__init__(bars, messages)
        self._out = out
        self._began = self._epoch_began = time.monotonic()
        self._progress = Bar(0)
        self._columns: list[Column] = []
        self._metric = ""
        self._evaluations: list[_Evaluation] = []

    def header(self, rows: Rows, heading: str = "") -> None:
        if heading:
            self._out.print(Text(heading))
        self._out.print(pairs(rows))
        self._out.gap()

    def best(self, metric: str, step: int, value: float) -> None:
        self._metric = metric
        if step >= 0:
            self._evaluations.append(_Evaluation(None, step, {metric: value}))

    def record(self, step: Step, data: Mapping[str, Any], units: Mapping[str, str | None]) -> None:
        if step == SUMMARY:
            self._summary(data)
        elif step == PARAMETER or isinstance(step, str):
            return  # the header shows the important ones
        elif len(step) == 1:
            began, self._epoch_began = self._epoch_began, time.monotonic()
            took = dict.fromkeys(RATES, f"in {duration(self._epoch_began - began)}")
            data = self._without_beginning(data)
            self._epoch({EPOCH: step[0] + 1, STEP: self._progress.done, **data}, took)
        elif RATES[0] in data:
            self._interval({EPOCH: step[0] + 1, STEP: step[1], **self._without_beginning(data)})
        elif RATES[1] in data:
            self._interval({BATCH: step[1], **data})
        else:
            self._evaluation(_Evaluation(step[0], step[1], data))

    def table(self, rows: Rows) -> None:
        widest = max(8, self._out.console.width // 2 - 2)
        names = plain_paths([name for name, _ in rows], widest)
        self._out.print(pairs([(name, isolated(printable(text))) for name, (_, text) in zip(names, rows, strict=True)]))

    def footer(self, rows: Rows) -> None:
        self._out.gap()
        self._out.print(Text(f"Done in {duration(time.monotonic() - self._began)}", style="bold green"))
        width = max((len(label) for label, _ in rows), default=0)
        for label, place in rows:
            self._out.print(Text.assemble((f"{label:<{width}}  ", "dim"), plain_name(place)), wrap=False)

    def bar(self, what: str, start: int, total: int | None) -> Bar:
        self._epoch_began = time.monotonic()
        self._progress = super().bar(what, start, total)
        return self._progress

    def _interval(self, data: Mapping[str, Any]) -> None:
        """Prints a line of figures, and a new heading if the columns change."""
        columns = fitting([*data], self._out.console.width, _IMPORTANT)
        if columns != self._columns:
            self._columns = columns
            self._heading(columns)
        self._out.print(figures_line(columns, data))

    def _without_beginning(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Prints the values of a run's first step on a line of their own; returns the others."""
        first = [f"{heading(key)} {significant(data[key])}" for key in BEGINNING if key in data]
        if first:
            self._out.gap()
            self._out.print(Text(", ".join(first)))
        return {key: value for key, value in data.items() if key not in BEGINNING}

    def _epoch(self, data: Mapping[str, Any], took: Mapping[str, Any]) -> None:
        """Prints a line like those of the intervals, with the duration of the epoch in place of the speed."""
        if not self._columns:
            self._columns = fitting([*data], self._out.console.width, _IMPORTANT)
            self._heading(self._columns)
        self._out.print(figures_line(self._columns, {**took, **data}, "bold"))

    def _heading(self, columns: Sequence[Column]) -> None:
        self._out.gap()
        self._out.print(heading_line(columns))

    def _evaluation(self, evaluation: _Evaluation) -> None:
        """Prints the last evaluations, including the best one."""
        self._columns = []  # training continues with a new heading
        self._evaluations = [row for row in self._evaluations if row.step != evaluation.step] + [evaluation]
        worst = float("-inf")
        best = max(self._evaluations, key=lambda row: row.metrics.get(self._metric, worst))  # the first of equal ones
        shown = self._evaluations[-MOST_EVALUATIONS:]
        if self._metric and best not in shown:
            shown = [best, *shown[1:]]
        metrics = _metrics(evaluation.metrics)
        width = self._out.console.width - len("  best")
        columns = fitting([EPOCH, STEP, *metrics], width, (STEP, self._metric, *metrics))
        self._out.gap()
        self._out.print(Text("Evaluation", style="bold"))
        self._out.print(heading_line(columns))
        for row in shown:
            cells = figures_line(columns, {EPOCH: row.epoch, STEP: row.step, **row.metrics})
            if row is best and self._metric:
                cells = cells.append("  best")
                cells.stylize("bold green")
            self._out.print(cells)
        known = [(key, ends) for key in metrics[:_MOST_INTERVALS] if (ends := interval_of(evaluation.metrics, key))]
        if known:
            told = ", ".join(f"{heading(key)} {between(ends)}" for key, ends in known)
            self._out.print(Text(f"95 % intervals: {told}", style="dim"))

    def _summary(self, data: Mapping[str, Any]) -> None:
        """Prints the speed, and the metrics unless an evaluation during training has shown them."""
        metrics = [*_metrics(data), *(key for key in (_IMAGES,) if key in data)]
        if metrics and not self._evaluations:
            self._out.gap()
            self._out.print(Text("Evaluation", style="bold"))
            self._out.print(figures_table((heading(key), data[key], interval_of(data, key)) for key in metrics))
            if data.get(INTERVALS):
                self._out.print(Text("on the right: the 95 % interval of each metric", style="dim"))
        kinds = [kind for kind in _SPEEDS if f"{kind}_{THROUGHPUT}" in data]
        if kinds:
            self._speed(data, kinds)

    def _speed(self, data: Mapping[str, Any], kinds: Sequence[str]) -> None:
        """Prints one row each for training, evaluation and the network alone; latencies are per batch in ms."""
        first = max(map(len, _SPEEDS.values()))
        latencies = dict.fromkeys(key.partition("_")[2] for key in data if f"_{LATENCY}" in key)
        keys = [THROUGHPUT, *latencies]
        width = self._out.console.width - first - 2
        columns = fitting([*keys, WAITING], width, (THROUGHPUT, f"{LATENCY}avg", WAITING))
        self._out.gap()
        self._out.print(heading_line(columns, "Speed".ljust(first)))
        for kind in kinds:
            waiting = {WAITING: data.get(WAITING)} if kind == kinds[0] else {}  # the share of the first kind
            values = {key: data.get(f"{kind}_{key}") for key in keys} | waiting
            self._out.print(line([_SPEEDS[kind].ljust(first), figures_line(columns, values).plain]))


def _metrics(data: Mapping[str, Any]) -> list[str]:
    """The keys of the metrics in a record, without those of its speed."""
    speeds = tuple(f"{kind}_" for kind in _SPEEDS)
    numbers = [key for key, value in data.items() if isinstance(value, int | float) and key not in (_IMAGES, WAITING)]
    return [key for key in numbers if not key.startswith(speeds)]
