"""Kinds of errors of a detector, and the average precision that each kind costs (no TF).

A wrong detection has one of five kinds. A *foreground* overlap is an IoU of at least 0.5, a *background* overlap one
below 0.1:

- classification: the object that it overlaps most, in the foreground, is of another category;
- duplicate: that object is of its own category, and a better detection has found it;
- localization: no foreground overlap; it overlaps an object of its own category by at least 0.1;
- both: as localization, with an object of another category only;
- background: it overlaps no object by 0.1.

An object is missed if no detection found it, nor would after the classification or localization errors are fixed. The
cost of a kind is the gain of average precision at IoU 0.5 when errors of this kind alone are fixed.

Source: Bolya et al., TIDE, arXiv:2008.08115, sections 2.2 and 2.3. The paper leaves the order of the kinds open where
several fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from object_detection.coco.metrics import Matches, average_precision, iou, mean_of_known

FOREGROUND, BACKGROUND = 0.5, 0.1
FALSE_KINDS = ("classification", "localization", "both", "duplicate", "background")
MISSED = "missed"
KINDS = (*FALSE_KINDS, MISSED)
ALL_FALSE, ALL_MISSED = "false positives", "false negatives"
FIXES = (*KINDS, ALL_FALSE, ALL_MISSED)
"""Everything that has a cost: each kind, all wrong detections, and all objects that were not found."""
_CLASSIFICATION, _LOCALIZATION, _BOTH, _DUPLICATE, _BACKGROUND = range(len(FALSE_KINDS))
_CORRECTED = (_CLASSIFICATION, _LOCALIZATION)
"""Kinds whose fix makes a detection right. That of the others removes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """The errors among ``Matches``.

    Attributes:
        kinds: ``[D]`` int64, the place of each wrong detection's kind in ``FALSE_KINDS``; -1 for all others.
        objects: ``[D]`` int64, the row of the object that a wrong detection is judged by; -1 for none.
    """

    kinds: np.ndarray
    objects: np.ndarray

    def missed(self, matches: Matches, counted: np.ndarray | None = None) -> np.ndarray:
        """Returns the missed objects, ``[G]`` bool.

        Args:
            matches: The matches.
            counted: ``[D]`` bool, the detections that count; all by default.
        """
        counted = np.ones(len(self.kinds), bool) if counted is None else counted
        corrected = np.isin(self.kinds, _CORRECTED) & counted
        missed: np.ndarray = not_found(matches, counted)
        missed[self.objects[corrected]] = False
        return missed


def not_found(matches: Matches, counted: np.ndarray) -> np.ndarray:
    """Returns the objects, ``[G]`` bool, without a right detection among those that are ``counted``, ``[D]`` bool."""
    left: np.ndarray = ~matches.groundtruth.crowds
    left[matches.objects[matches.right & counted]] = False
    return left


def find_errors(matches: Matches) -> Errors:
    """Returns the kind of each wrong detection, and the object that it is judged by.

    Crowds are no objects here. Among equal overlaps the first object counts.
    """
    kinds = np.where(matches.wrong, _BACKGROUND, -1)
    objects = np.full(len(kinds), -1, np.int64)
    wrong, there = np.flatnonzero(matches.wrong), np.flatnonzero(~matches.groundtruth.crowds)
    wrong = wrong[np.argsort(matches.results.image_ids[wrong], kind="stable")]
    there = there[np.argsort(matches.groundtruth.image_ids[there], kind="stable")]
    images, firsts = np.unique(matches.results.image_ids[wrong], return_index=True)
    ends = np.append(firsts, len(wrong))[1:]
    spans = (np.searchsorted(matches.groundtruth.image_ids[there], images, side) for side in ("left", "right"))
    for first, end, from_, to in zip(firsts, ends, *spans, strict=True):
        if from_ < to:
            rows, near = wrong[first:end], there[from_:to]
            kinds[rows], chosen = _judged(matches, rows, near)
            objects[rows] = np.where(chosen < 0, -1, near[chosen])
    return Errors(kinds=kinds, objects=objects)


def _judged(matches: Matches, rows: np.ndarray, near: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kinds of wrong detections of an image, and the places of their objects in ``near``; -1 for none."""
    objects = matches.groundtruth
    overlaps = iou(matches.results.boxes_px[rows], objects.boxes_px[near], np.zeros(len(near), bool))
    same = matches.results.category_ids[rows][:, np.newaxis] == objects.category_ids[near]
    own, other = np.where(same, overlaps, 0.0), np.where(same, 0.0, overlaps)
    most, most_other = own.max(axis=1), other.max(axis=1)
    is_other = (most_other >= FOREGROUND) & (most_other > most)
    conditions = [is_other, most >= FOREGROUND, most >= BACKGROUND, most_other >= BACKGROUND]
    kinds = np.select(conditions, [_CLASSIFICATION, _DUPLICATE, _LOCALIZATION, _BOTH], _BACKGROUND)
    of_other = np.isin(kinds, (_CLASSIFICATION, _BOTH))
    chosen = np.where(of_other, other.argmax(axis=1), own.argmax(axis=1))
    return kinds, np.where(kinds == _BACKGROUND, -1, chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdicts:
    """Verdicts on detections, ``[D]`` each, and the number of objects to find in each category, ``[K]``.

    ``best_first`` are the rows of the detections by category, the best of each first.
    """

    category_ids: np.ndarray
    best_first: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    objects: np.ndarray


def precision_when_fixed(matches: Matches, errors: Errors, category_ids: np.ndarray) -> dict[str, np.ndarray]:
    """Returns average precision at IoU 0.5 by category, ``[K]``, with the errors of each of ``FIXES`` fixed.

    A category without objects has -1, also if all its objects are taken away as missed.

    Args:
        matches: The matches.
        errors: Their errors.
        category_ids: ``[K]`` the scored categories, ascending.
    """
    as_it_is = _Verdicts(
        category_ids=matches.results.category_ids,
        best_first=_best_first(matches, matches.results.category_ids),
        right=matches.right,
        wrong=matches.wrong,
        objects=_count(matches, ~matches.groundtruth.crowds, category_ids),
    )
    fixed = {
        name: _corrected(as_it_is, matches, errors, kind)
        if kind in _CORRECTED
        else replace(as_it_is, wrong=matches.wrong & (errors.kinds != kind))
        for kind, name in enumerate(FALSE_KINDS)
    }
    fixed[ALL_FALSE] = replace(as_it_is, wrong=np.zeros_like(matches.wrong))
    everything = np.ones_like(matches.wrong)
    for name, lost in ((MISSED, errors.missed(matches)), (ALL_MISSED, not_found(matches, everything))):
        fixed[name] = replace(as_it_is, objects=as_it_is.objects - _count(matches, lost, category_ids))
    return {name: _by_category(verdicts, category_ids) for name, verdicts in fixed.items()}


def costs(before: np.ndarray, fixed: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Returns the gain of mean average precision by each fix; None if no category with objects is left.

    Args:
        before: ``[K]`` average precision by category.
        fixed: The same with the errors of a kind fixed.
    """
    was = mean_of_known(before)
    means = {name: mean_of_known(values) for name, values in fixed.items()}
    return {name: mean - was if was >= 0 and mean >= 0 else None for name, mean in means.items()}


def _count(matches: Matches, chosen: np.ndarray, category_ids: np.ndarray) -> np.ndarray:
    """Counts the chosen objects by category, ``[K]``."""
    places = np.searchsorted(category_ids, matches.groundtruth.category_ids[chosen])
    return np.bincount(places, minlength=len(category_ids))


def _corrected(verdicts: _Verdicts, matches: Matches, errors: Errors, kind: int) -> _Verdicts:
    """Gives the errors of a kind to their objects; of several detections of an object, the best one is kept."""
    fixed = errors.kinds == kind
    claims = np.flatnonzero(matches.right | fixed)
    objects = np.where(fixed, errors.objects, matches.objects)[claims]
    order = np.lexsort((fixed[claims], -matches.results.scores[claims], objects))
    _, firsts = np.unique(objects[order], return_index=True)
    right = np.zeros_like(matches.right)
    right[claims[order[firsts]]] = True
    category_ids = verdicts.category_ids.copy()
    category_ids[fixed] = matches.groundtruth.category_ids[errors.objects[fixed]]
    order = _best_first(matches, category_ids) if kind == _CLASSIFICATION else verdicts.best_first
    wrong = matches.wrong & ~fixed
    return replace(verdicts, category_ids=category_ids, best_first=order, right=right, wrong=wrong)


def _best_first(matches: Matches, category_ids: np.ndarray) -> np.ndarray:
    """Returns the rows of the detections by category, ``[D]``, the best first; equal scores are ordered by image."""
    return np.lexsort((matches.results.image_ids, -matches.results.scores, category_ids))


def _by_category(verdicts: _Verdicts, category_ids: np.ndarray) -> np.ndarray:
    """Returns the average precision of each category, ``[K]``; -1 without objects."""
    order = verdicts.best_first[(verdicts.right | verdicts.wrong)[verdicts.best_first]]
    spans = (np.searchsorted(verdicts.category_ids[order], category_ids, side) for side in ("left", "right"))
    found = np.full(len(category_ids), -1.0)
    for k, (first, end, objects) in enumerate(zip(*spans, verdicts.objects, strict=True)):
        if objects:
            rows = order[first:end]
            hits, misses = verdicts.right[np.newaxis, rows], verdicts.wrong[np.newaxis, rows]
            found[k] = average_precision(hits, misses, int(objects))[0]
    return found
