"""Tests of the difference between runs that were evaluated on the same images (no TF)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from utils.reporting.evaluation_file import SEVERAL_LABELS
from utils.reporting.per_image import PER_IMAGE, answers_of, detections_of, scores_of
from utils.reporting.run_log import Run
from utils.statistics import paired
from utils.statistics.detection_metrics import mean_over_categories
from utils.statistics.intervals import RESAMPLES, Interval, percentile_interval, resamples, wilson
from utils.statistics.several_labels import mean_rankings
from utils.text import first_and_more, plural

_MOST_ALL_PAIRS = 6
"""With more runs, only the best one is tested against each of the others."""
_RESAMPLES_A_PAIR, _MOST_RESAMPLES = 100, 10_000
METRICS = {
    "classification": "top-1 accuracy",
    SEVERAL_LABELS: "mean average precision",
    "detection": "average precision",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A run's results by image.

    Attributes:
        name: Name of the run.
        task: "classification", ``SEVERAL_LABELS`` or "detection".
        split: Digest of the records; None if there are none.
        images: ``[n]`` index or id of each image.
        truth: What there was to find, by name.
        right: ``[n]`` bool, for a classifier.
        scores: ``[n, K]``, for a classifier of images with several labels, whose "labels" are ``[n, K]``.
        detections: ``JudgedDetections``, for a detector.
        repeats: Results of repetitions on the same images, as with other seeds, in place of the two; the metric is the
            mean of theirs.
    """

    name: str
    task: str
    split: str | None
    images: np.ndarray
    truth: Mapping[str, np.ndarray]
    right: np.ndarray | None = None
    scores: np.ndarray | None = None
    detections: Any = None
    repeats: tuple[Results, ...] = ()

    def values(self, weights: np.ndarray) -> np.ndarray:
        """Computes the metric, ``[b]``, given how often each image counts, ``[b, n]``."""
        if self.repeats:
            mean: np.ndarray = np.mean([one.values(weights) for one in self.repeats], axis=0)
            return mean
        if self.right is not None:
            shares: np.ndarray = weights @ self.right / weights.sum(axis=1)
            return shares
        if self.scores is not None:
            precisions: np.ndarray = mean_rankings(self.scores, self.truth["labels"], weights)[1]
            return precisions
        return mean_over_categories(self.detections.average_precision(weights).mean(axis=2))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTest:
    """The test between two runs.

    Attributes:
        names: Their names.
        metric: The metric in words.
        values: Its values.
        interval: The 95 % interval of the difference, first minus second.
        test: The test in words.
        p: Its p-value.
        corrected: The p-value after Holm's correction.
        needed: Number of images that would tell a difference of this size; None without a difference.
        images: Number of images.
    """

    names: tuple[str, str]
    metric: str
    values: tuple[float, float]
    interval: Interval | None
    test: str
    p: float
    corrected: float
    needed: int | None
    images: int

    @property
    def tells(self) -> bool:
        """True if the difference is larger than chance would make it."""
        return self.corrected < paired.ALPHA


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The tests between runs.

    Attributes:
        pairs: Those that were made.
        refused: Sentences about pairs that were evaluated on different images.
        lacking: Names of the runs without results by image.
    """

    pairs: list[PairTest] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)

    def without_results(self) -> list[str]:
        """A sentence about runs that cannot be tested, if there are any."""
        if not self.lacking:
            return []
        who = first_and_more(self.lacking, "run")
        return [
            f"Not tested: {who}, whose evaluation.json is missing or lacks results by image, like those of older "
            "versions. --mode=evaluate writes it anew."
        ]


def paired_tests(runs: Sequence[Run]) -> Outcome:
    """Tests each pair of runs, the best run first; of many runs, only the best one against each of the others."""
    tests, found = Outcome(), []
    for run in runs:
        results = results_of(run)
        if results is None:
            tests.lacking.append(run.name)
        else:
            found.append(results)
    add_tests(found, tests)
    return tests


def add_tests(found: Sequence[Results], tests: Outcome) -> None:
    """Adds the tests of each pair of results, the best first; of many, only the best against each of the others."""
    pairs = [*combinations(found, 2)] if len(found) <= _MOST_ALL_PAIRS else [(found[0], other) for other in found[1:]]
    comparable = []
    for pair in pairs:
        reason = why_different(*pair)
        if reason:
            tests.refused.append(f"{pair[0].name} and {pair[1].name}: not compared, {reason}.")
        else:
            comparable.append(pair)
    tests.pairs = _tested(comparable)


def repeated(results: Sequence[Results]) -> Results:
    """Joins results of one network trained several times, on the same images."""
    if len(results) == 1:
        return results[0]
    return dataclasses.replace(results[0], right=None, detections=None, repeats=tuple(results))


def metric_and_interval(results: Results) -> tuple[float, Interval | None]:
    """The metric of all images with its 95 % interval: Wilson's for an accuracy, else the bootstrap over images."""
    value = float(results.values(np.ones([1, len(results.images)]))[0])
    if results.task == "classification":
        return value, wilson(value * len(results.images), len(results.images))
    return value, percentile_interval(_samples(results, RESAMPLES)[1:])


def results_of(run: Run) -> Results | None:
    """Reads a run's results by image; None if it has none that can be read."""
    evaluation = run.evaluation
    if evaluation is None or evaluation.get(PER_IMAGE) is None:
        return None
    shared = {"name": run.name, "task": evaluation["task"], "split": evaluation.get("split")}
    try:
        if evaluation["task"] == "classification":
            answers = answers_of(evaluation)
            labels, right = answers["label"], answers["label"] == answers["answer"]
            return (
                Results(**shared, images=answers["index"], truth={"labels": labels}, right=right)
                if len(right)
                else None
            )
        if evaluation["task"] == SEVERAL_LABELS:
            index, scores, labels_of_each = scores_of(evaluation)
            truth = {"labels": labels_of_each}
            return Results(**shared, images=index, truth=truth, scores=scores) if len(index) else None
        image_ids, category_ids, table = detections_of(evaluation)
    except ValueError:
        return None
    found = {"categories": category_ids, "objects": table.objects}
    return Results(**shared, images=image_ids, truth=found, detections=table) if len(image_ids) else None


def why_different(first: Results, second: Results) -> str | None:
    """The reason why two runs cannot be compared image by image, if there is one."""
    if first.task != second.task:
        return f"because one is for {first.task} and the other for {second.task}"
    if not np.array_equal(first.images, second.images):
        both = len(np.intersect1d(first.images, second.images))
        counts = f"{plural(len(first.images), 'image')} and {len(second.images):,}"
        return f"because they were evaluated on different images ({counts}, {both:,} of which have the same number)"
    if first.split != second.split:
        return "because the records of their validation images differ: they were evaluated on different images"
    for name, values in first.truth.items():
        if not np.array_equal(values, second.truth[name]):
            return f"because the {name} of their validation images differ"
    return None


def _tested(pairs: Sequence[tuple[Results, Results]]) -> list[PairTest]:
    """The tests of pairs of the same images, corrected for their number."""
    number = min(_MOST_RESAMPLES, max(RESAMPLES, _RESAMPLES_A_PAIR * len(pairs)))
    involved = {one.name: one for pair in pairs for one in pair}
    samples = {name: _samples(one, number) for name, one in involved.items()}
    made = [_facts(pair, [samples[one.name] for one in pair]) for pair in pairs]
    corrected = paired.holm([facts["p"] for facts in made])
    return [PairTest(**facts, corrected=p) for facts, p in zip(made, corrected, strict=True)]


def _samples(results: Results, number: int) -> np.ndarray:
    """The metric of all images, then that of each resample; resamples of as many images are the same for all runs."""
    parts = [results.values(weights) for weights in resamples(len(results.images), number)]
    return np.concatenate([results.values(np.ones([1, len(results.images)])), *parts])


def _facts(pair: tuple[Results, Results], samples: Sequence[np.ndarray]) -> dict[str, Any]:
    first, second = pair
    images = len(first.images)
    differences = samples[0] - samples[1]
    if first.right is not None and second.right is not None:
        only = int(np.sum(first.right & ~second.right)), int(np.sum(~first.right & second.right))
        p, test = paired.mcnemar(*only)
        test = f"{test} ({only[0]:,} and {only[1]:,} images that only one of them gets right)"
        needed = paired.images_to_tell_shares(*only, images)
    else:
        p, test = paired.bootstrap_p(differences[1:]), f"paired bootstrap, {len(differences) - 1:,} resamples"
        spread = float(np.nanstd(differences[1:])) * images**0.5
        needed = paired.images_to_tell(float(np.nan_to_num(differences[0])), spread)
    return {
        "names": (first.name, second.name),
        "metric": METRICS[first.task],
        "values": (float(samples[0][0]), float(samples[1][0])),
        "interval": percentile_interval(differences[1:]),
        "test": test,
        "p": p,
        "needed": needed,
        "images": images,
    }


def sentence(test: PairTest, number: int) -> str:
    """A test in words.

    Args:
        test: The test.
        number: Number of tests that were corrected for.
    """
    ends = f" (95 % interval {test.interval[0]:.4f} to {test.interval[1]:.4f})" if test.interval else ""
    corrected = f", {shown(test.corrected)} after Holm's correction for {number} comparisons" if number > 1 else ""
    verdict = "is larger" if test.tells else "is not larger"
    return (
        f"{test.names[0]} and {test.names[1]}, {plural(test.images, 'image')}: {test.metric} {test.values[0]:.4f} and "
        f"{test.values[1]:.4f}, difference {test.values[0] - test.values[1]:.4f}{ends}. {test.test}: p = "
        f"{shown(test.p)}{corrected}. The difference {verdict} than chance would make it{_needed(test)}."
    )


def _needed(test: PairTest) -> str:
    if test.needed is None:
        return "; no number of images tells networks that are equally good apart"
    few = "would be enough" if test.tells else "are needed"
    return f"; {rounded(test.needed)} images {few} to tell a difference of this size (power 0.8, alpha 0.05)"


def rounded(count: int) -> str:
    """A number of images, rounded up to two digits."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return f"about {-(-count // unit) * unit:,}"


def shown(p: float) -> str:
    """A p-value."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
