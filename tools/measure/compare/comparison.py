"""The comparison as a whole: which cells are measured, in which order, and what is left behind (no TF)."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.measure.compare.cells import PRECISIONS, Cell
from tools.measure.compare.line_up import Hall, UnavailableError, entrants, needs_of, peak
from tools.measure.compare.results import CellResult, Spread, figures, markdown, to_json
from tools.measure.compare.turns import ROOT, Contestant, Match, disagreements
from utils.errors import RunError, UsageError
from utils.files.atomic_file import write_atomically
from utils.files.writable import require_writable
from utils.records.split_files import load_split
from utils.system.machine import SPEED_FEATURES, cpu_features, cpu_name
from utils.system.versions import git_commit
from utils.text import plural

LEAST_ROUNDS, LEAST_STEPS = 8, 4
BUSY = 0.5
"""One-minute load average above which a machine is not idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """The length of a comparison, and the threads of each contestant."""

    rounds: int
    steps: int
    threads: int


class Comparison:
    """A comparison of cells, which writes its results after each cell.

    Args:
        cells: The cells.
        length: Its length.
        json: File for all figures, or None.
        markdown: File for the tables, or None.
        only_contests: Leave out cells that no peer can enter.

    Attributes:
        results: The results of the cells that were measured.
        left_out: The reasons why others were not, by name.
        incomplete: True if a cell or contestant that could have been measured was not.

    Raises:
        UsageError: There are too few processors, or a file cannot be written.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        length: Length,
        *,
        json: Path | None = None,
        markdown: Path | None = None,
        only_contests: bool = False,
    ) -> None:
        self._cells = cells
        self._length = length
        self._json = _writable("json", json)
        self._markdown = _writable("markdown", markdown)
        if self._json is not None and self._json == self._markdown:
            raise UsageError(f"--markdown {markdown}: is the file of --json too; name another one")
        self._only_contests = only_contests
        self._facts: dict[str, Any] = {}
        self._peak_figures: dict[str, Any] = {}
        self._load = load()
        self.results: list[CellResult] = []
        self.left_out: dict[str, str] = {}
        self.incomplete = False

    def run(self, oracle_python: str | None, data_dir: str | None) -> None:
        """Measures the cells.

        Raises:
            UsageError: The peers' environment is not there, there are too few processors, or records do not fit.
            RunError: There are no records, or nothing could be measured.
        """
        processors = _take(self._length.threads)
        if data_dir:
            self._check_records(data_dir)
        with tempfile.TemporaryDirectory(prefix="compare-") as folder:
            hall = Hall(Path(folder), self._length.threads, oracle_python, data_dir)
            chosen = [cell for cell in self._cells if self._fits(cell, hall)]
            if not chosen:
                raise RunError("nothing can be measured: " + "; ".join(f"{k}: {v}" for k, v in self.left_out.items()))
            self._facts = self._describe(hall, processors)
            for number, cell in enumerate(chosen, start=1):
                _say(f"{cell.name}, cell {number} of {len(chosen)}")
                self._measure(cell, hall)
                self._write()
        if not any(result.scores for result in self.results):
            raise RunError("no contestant lived to be measured; --cells: " + _deaths(self.results))

    def _check_records(self, data_dir: str) -> None:
        """Checks the records, so that wrong ones are told before an hour of work."""
        if all(cell.what != "input" for cell in self._cells):
            raise UsageError(f"--data_dir {data_dir}: only used for the cell input-BATCH, and --cells names none")
        manifest = load_split(data_dir, "train").manifest
        if manifest is not None and manifest.task != "classification":
            raise UsageError(f"--data_dir {data_dir}: holds records for {manifest.task}; must be for classification")

    def text(self) -> str:
        """The tables in Markdown."""
        return markdown(self._facts, self.results, self.left_out)

    def _fits(self, cell: Cell, hall: Hall) -> bool:
        """Returns whether a cell can be measured; notes why not."""
        reason = hall.lacks(needs_of(cell))
        if reason is None and self._only_contests:
            lacking = {one.name: hall.lacks(one.needs) for one in entrants(cell, hall) if one.peer}
            if lacking and all(lacking.values()):
                reason = "; ".join(f"{name} {lack}" for name, lack in lacking.items())
        if reason is not None:
            _say(f"{cell.name} is left out: {reason}")
            self.left_out[cell.name] = reason
            self.incomplete |= not self._only_contests
        return reason is None

    def _describe(self, hall: Hall, processors: Sequence[int]) -> dict[str, Any]:
        """The facts about the machine and the run, its peaks measured."""
        features = cpu_features()
        rounds = plural(self._length.rounds, "round")
        return {
            "commit": git_commit(ROOT) or "not known",
            "processor": cpu_name(),
            "instructions": " ".join(name for name in SPEED_FEATURES if name in features) or "not known",
            "threads": f"{self._length.threads}, on processors {', '.join(map(str, processors))}",
            "load before the start": f"{self._load:.2f}" + (", busy" if self._load > BUSY else ""),
            "length": f"{rounds}, in each {self._length.steps} steps or more",
            **self._peaks(hall),
            **hall.peers["versions"],
        }

    def _peaks(self, hall: Hall) -> dict[str, str]:
        """The machine's matrix products, in all types for which it has instructions."""
        types = [kind for name, kind in PRECISIONS.items() if name == "f32" or hall.lack(kind) is None]
        with Match(self._length.threads, _say) as match:
            for kind in types:
                match.enter(peak(kind, self._length.threads), self._length.steps, extend=False)
            match.play(self._length.rounds)
        scores = match.scores
        self._peak_figures = {scores[name].facts["precision"]: figures(scores[name].speeds) for name in scores}
        return {name: f"{Spread.of(score.speeds)} GFLOP/s" for name, score in scores.items()} | match.died

    def _measure(self, cell: Cell, hall: Hall) -> None:
        """Measures a cell."""
        before, networks = load(), cell.what in ("infer", "train")
        left_out: dict[str, str] = {}
        with Match(self._length.threads, _say) as match:
            for contestant in self._contestants(cell, hall, left_out):
                match.enter(contestant, 1 if cell.what in ("predict", "start") else self._length.steps)
            for name, reason in disagreements(match.scores.values()).items():
                _say(f"{name} is left out: {reason}")
                left_out[name] = reason
                match.dismiss(name)
            product = peak(cell.precision, self._length.threads)
            if networks:
                match.enter(product, self._length.steps, extend=False)
            match.play(self._length.rounds)
        scores = dict(match.scores)
        top = scores.pop(product.name, None)
        self.incomplete |= bool(match.died)
        result = CellResult(
            cell=cell, load=before, scores=tuple(scores.values()), left_out=left_out | match.died, peak=top
        )
        self.results.append(result)

    def _contestants(self, cell: Cell, hall: Hall, left_out: dict[str, str]) -> Any:
        """Yields the contestants of a cell that can take part, and notes why others cannot."""
        for entrant in entrants(cell, hall):
            reason = hall.lacks(entrant.needs)
            if reason is None:
                try:
                    command = tuple(entrant.command())
                except UnavailableError as error:
                    reason = str(error)
                    self.incomplete = True
            if reason is not None:
                _say(f"{entrant.name} is left out: {reason}")
                left_out[entrant.name] = reason
                continue
            wanted = cell.precision if cell.what in ("infer", "train") else None
            work = float(cell.batch if cell.what in ("infer", "train", "input") else 1)
            yield Contestant(name=entrant.name, command=command, peer=entrant.peer, work=work, precision=wanted)

    def _write(self) -> None:
        """Writes what has been measured so far."""
        if self._json:
            content = {
                "facts": self._facts,
                "load_at_start": self._load,
                "threads": self._length.threads,
                "matrix_product_gflops": self._peak_figures,
                "rounds": self._length.rounds,
                "cells": {result.cell.name: to_json(result) for result in self.results},
                "left_out": self.left_out,
            }
            write_atomically(self._json, (json.dumps(content, indent=1) + "\n").encode())
        if self._markdown:
            write_atomically(self._markdown, self.text().encode())


def load() -> float:
    """The load of the machine, with a warning if it is not idle."""
    found = os.getloadavg()[0]
    if found > BUSY:
        _say(f"warning: load {found:.1f}: other programs distort the measurement")
    return found


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _take(threads: int) -> list[int]:
    """Has this process and its children run on as many processors as threads; returns their numbers.

    Raises:
        UsageError: There are not so many.
    """
    available = sorted(os.sched_getaffinity(0))
    if threads > len(available):
        raise UsageError(f"--threads {threads}: must be at most {len(available)}, the processors of this machine")
    os.sched_setaffinity(0, available[:threads])
    return available[:threads]


def _writable(flag: str, path: Path | None) -> Path | None:
    """The path of a file that can be written.

    Raises:
        UsageError: It cannot.
    """
    if path is None:
        return None
    try:
        require_writable(path.parent)
        if path.is_dir():
            raise IsADirectoryError(0, "is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--{flag} {path}: cannot be written: {error.strerror}") from error
    return path


def _deaths(results: Sequence[CellResult]) -> str:
    return "; ".join(f"{r.cell.name}: {name} {reason}" for r in results for name, reason in r.left_out.items())
