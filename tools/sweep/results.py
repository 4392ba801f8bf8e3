"""The results of a sweep: each setting's metric over all folds and seeds, and tests between settings (no TF)."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from tools.sweep.launches import DONE, Result
from tools.sweep.plan import Launch
from utils.errors import RunError
from utils.reporting.paired_tests import (
    METRICS,
    Outcome,
    Results,
    add_tests,
    metric_and_interval,
    repeated,
    results_of,
)
from utils.reporting.run_log import read_run
from utils.statistics.intervals import Interval, wilson

Cell = tuple[int, int | None]
"""Seed and fold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The result of one setting.

    Attributes:
        setting: Its name.
        value: Its metric over the images of all folds, the mean over seeds; None without a finished launch.
        interval: The 95 % interval.
        images: Number of images.
        by_seed: The metric of each seed, over the images of all its folds.
        by_cell: The metric of each launch.
        launches: Number of finished launches, and of all.
        processor_seconds: Processor time of all launches.
    """

    setting: str
    value: float | None
    interval: Interval | None
    images: int
    by_seed: Mapping[int, float]
    by_cell: Mapping[Cell, float]
    launches: tuple[int, int]
    processor_seconds: float

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None with one seed."""
        return stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All results.

    Attributes:
        metric: The metric in words.
        summaries: One for each setting, the best first.
        tests: The tests between them.
        notes: Sentences about what could not be compared.
    """

    metric: str
    summaries: tuple[Summary, ...]
    tests: Outcome
    notes: tuple[str, ...]


def find(settings: Sequence[str], ended: Sequence[tuple[Launch, Result]]) -> Findings:
    """Reads the evaluations of the finished launches, and compares the settings.

    Raises:
        RunError: No launch has a result.
    """
    by_cell: dict[str, dict[Cell, Results]] = {name: {} for name in settings}
    for launch, result in ended:
        if result.state == DONE:
            by_cell[launch.setting][launch.cell] = _results(launch.folder)
    known = [results for cells in by_cell.values() for results in cells.values()]
    if not known:
        raise RunError("no launch of the sweep has a result")
    summaries = [_summary(name, by_cell[name], ended) for name in settings]
    summaries.sort(key=lambda one: (one.value is None, -(one.value or 0.0)))
    tests, notes = _compare([one.setting for one in summaries if one.value is not None], by_cell)
    return Findings(metric=METRICS[known[0].task], summaries=tuple(summaries), tests=tests, notes=tuple(notes))


def _results(folder: Path) -> Results:
    results = results_of(read_run(folder, results=folder))
    if results is None:
        raise RunError(f"{folder}: its evaluation.json lacks results by image; delete the folder to run it again")
    return results


def _summary(name: str, cells: Mapping[Cell, Results], ended: Sequence[tuple[Launch, Result]]) -> Summary:
    own = [result for launch, result in ended if launch.setting == name]
    by_seed = {seed: pooled(name, parts) for seed, parts in _by_seed(cells).items()}
    value, interval, images = None, None, 0
    if by_seed:
        # Seeds lack different images only if launches failed; the interval then counts the fewest.
        images = min(len(one.images) for one in by_seed.values())
        if all(np.array_equal(one.images, by_seed[min(by_seed)].images) for one in by_seed.values()):
            value, interval = metric_and_interval(repeated([*by_seed.values()]))
        else:
            value = mean(map(_metric, by_seed.values()))
            interval = wilson(value * images, images)
    return Summary(
        setting=name,
        value=value,
        interval=interval,
        images=images,
        by_seed={seed: _metric(one) for seed, one in by_seed.items()},
        by_cell={cell: _metric(one) for cell, one in cells.items()},
        launches=(len(cells), len(own)),
        processor_seconds=round(sum(result.processor_seconds for result in own), 3),
    )


def _metric(results: Results) -> float:
    return float(results.values(np.ones([1, len(results.images)]))[0])


def _by_seed(cells: Mapping[Cell, Results]) -> dict[int, list[Results]]:
    found: defaultdict[int, list[Results]] = defaultdict(list)
    for (seed, _), results in sorted(cells.items(), key=lambda item: (item[0][0], item[0][1] or 0)):
        found[seed].append(results)
    return dict(found)


def pooled(name: str, folds: Sequence[Results]) -> Results:
    """The results of all folds of one seed as those of one network, by image.

    Raises:
        RunError: The folds share images, or are of different records.
    """
    first = folds[0]
    if len(folds) == 1 or first.right is None:
        return dataclasses.replace(first, name=name)
    images = np.concatenate([one.images for one in folds])
    order = np.argsort(images, kind="stable")
    if len({one.split for one in folds}) > 1 or len(np.unique(images)) < len(images):
        raise RunError(f"{name}: its folds are not of the same records; a sweep has to keep its data as it is")
    truth = {key: np.concatenate([one.truth[key] for one in folds])[order] for key in first.truth}
    right = np.concatenate([one.right for one in folds if one.right is not None])[order]
    return dataclasses.replace(first, name=name, images=images[order], truth=truth, right=right)


def _compare(names: Sequence[str], by_cell: Mapping[str, Mapping[Cell, Results]]) -> tuple[Outcome, list[str]]:
    """Tests the settings on the images that all of them have; sentences about those that some lack."""
    tests, notes = Outcome(), []
    common = set.intersection(*(set(by_cell[name]) for name in names))
    every = set.union(*(set(by_cell[name]) for name in names))
    if len(names) > 1 and common != every:
        notes.append(
            f"Some launches have no result, so the tests use the {len(common)} of {len(every)} seeds and folds of "
            "which every setting has one."
        )
    seeds = {seed for seed, _ in common}
    folds = {seed: {fold for other, fold in common if other == seed} for seed in seeds}
    whole = {seed for seed in seeds if folds[seed] == set.union(*folds.values())}  # on the same images as the others
    if common:
        found = []
        for name in names:
            chosen = {cell: one for cell, one in by_cell[name].items() if cell in common and cell[0] in whole}
            found.append(repeated([pooled(name, parts) for parts in _by_seed(chosen).values()]))
        add_tests(found, tests)
    return tests, notes


def to_json(findings: Findings) -> dict[str, Any]:
    """The results for programs."""
    return {
        "metric": findings.metric,
        "settings": [
            {
                "name": one.setting,
                "value": one.value,
                "interval": one.interval,
                "images": one.images,
                "spread_over_seeds": one.spread,
                "by_seed": {str(seed): value for seed, value in one.by_seed.items()},
                "launches": {"done": one.launches[0], "all": one.launches[1]},
                "processor_seconds": one.processor_seconds,
            }
            for one in findings.summaries
        ],
        "tests": [dataclasses.asdict(test) | {"tells": test.tells} for test in findings.tests.pairs],
        "notes": [*findings.notes, *findings.tests.refused],
    }
