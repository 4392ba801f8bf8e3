"""Detections of overlapping tiles become those of the picture.

The boxes of one tile have been through suppression already, so only boxes of different tiles suppress each other. Their
overlap is taken within the area that both tiles show: a box that the edge of a tile cuts is compared with the same part
of the whole box. A picture of one tile keeps its detections unchanged.

Shape symbols: T tiles, D detections of a tile, n boxes of all tiles, best first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from object_detection.postprocessing.score_decay import SIGMA
from utils.detection_config import PostProcessingSpec
from utils.images.tiles import Tile

_Rivalry = Callable[[int], np.ndarray]
"""Returns the overlaps [n] of a box with all boxes; 0 with those that it does not affect."""


def merge_tiles(
    found: Sequence[Mapping[str, np.ndarray]], tiles: Sequence[Tile], spec: PostProcessingSpec, min_score: float = 0.0
) -> dict[str, np.ndarray]:
    """Merges the detections of a picture's tiles.

    Args:
        found: For each of T tiles "detection_boxes" [D, 4] relative to the tile, "detection_scores" and
            "detection_classes" [D], and "num_detections".
        tiles: The tiles, which together cover the picture.
        spec: Suppression, and the largest number of detections of the picture.
        min_score: Boxes with a lower score are left out. They affect no better ones.

    Returns:
        The same arrays for the picture, best first, as many rows as detections. If a number is not finite, all boxes
        come back as they are.
    """
    counts = [int(arrays["num_detections"]) for arrays in found]
    boxes, scores, classes = (
        np.concatenate([arrays[f"detection_{name}"][:count] for arrays, count in zip(found, counts, strict=True)])
        for name in ("boxes", "scores", "classes")
    )
    corners = np.array([(tile.top, tile.left, tile.top + tile.height, tile.left + tile.width) for tile in tiles])
    frames, picture = np.repeat(corners, counts, axis=0), np.tile(corners[:, 2:].max(axis=0), 2)
    boxes = _in_picture(boxes, frames, picture)
    if not (np.isfinite(scores).all() and np.isfinite(boxes).all()):
        return _arrays(boxes, scores, classes)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= min_score]
    boxes, scores, classes, frames = boxes[order], scores[order], classes[order], frames[order]
    origin = np.repeat(np.arange(len(tiles)), counts)[order]
    affects = _rivalry(boxes * picture, frames, origin, classes, spec)
    scores = _SUPPRESSIONS[spec.suppression](scores, affects, spec)
    best = np.argsort(-scores, kind="stable")[: spec.max_total_detections]
    best = best[scores[best] > max(spec.score_threshold, 0.0)]
    return _arrays(boxes[best], scores[best], classes[best])


def _arrays(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "detection_boxes": boxes,
        "detection_scores": scores,
        "detection_classes": classes,
        "num_detections": np.asarray(len(scores), np.float32),
    }


def _in_picture(boxes: np.ndarray, frames: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Moves boxes relative to their tiles to the picture, relative to it; a side that both share changes by no bit."""
    start, size = np.tile(frames[:, :2], 2), np.tile(frames[:, 2:] - frames[:, :2], 2)
    return np.where(size == picture, boxes, (boxes * size + start) / picture).astype(np.float32)


def _rivalry(
    boxes_px: np.ndarray, frames: np.ndarray, origin: np.ndarray, classes: np.ndarray, spec: PostProcessingSpec
) -> _Rivalry:
    """Returns the function that tells which boxes a box affects, given the tile and the class of each."""

    def affects(number: int) -> np.ndarray:
        rivals = origin != origin[number]
        if not spec.class_agnostic:
            rivals &= classes == classes[number]
        overlaps = _overlaps(number, boxes_px, frames)
        if spec.suppression == "diou":
            overlaps -= _distances(number, boxes_px)
        return np.where(rivals, overlaps, 0.0)

    return affects


def _overlaps(number: int, boxes: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of a box with each, within the area that the tiles of both show, [n]."""
    shared = _area(_cut(boxes, boxes[number]))
    union = _area(_cut(frames, boxes[number])) + _area(_cut(boxes, frames[number])) - shared
    found: np.ndarray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def _cut(boxes: np.ndarray, window: np.ndarray) -> np.ndarray:
    return np.concatenate([np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])], axis=1)


def _area(boxes: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1, dtype=np.float64)
    return found


def _distances(number: int, boxes: np.ndarray) -> np.ndarray:
    """Returns the squared distance of the centers over the squared diagonal of the box around both, [n]."""
    low, high = np.minimum(boxes[:, :2], boxes[number, :2]), np.maximum(boxes[:, 2:], boxes[number, 2:])
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    between = np.sum(np.square(middles - middles[number]), axis=1)
    diagonal = np.sum(np.square(high - low), axis=1)
    found: np.ndarray = np.divide(between, diagonal, out=np.zeros_like(between), where=diagonal > 0)
    return found


def _dropped(scores: np.ndarray, affects: _Rivalry, spec: PostProcessingSpec) -> np.ndarray:
    """Returns the scores, 0 for boxes that overlap better ones by more than the threshold."""
    alive = np.ones(len(scores), np.bool_)
    for number in range(len(scores)):
        if alive[number]:
            alive[number + 1 :] &= affects(number)[number + 1 :] <= spec.iou_threshold
    return np.where(alive, scores, 0.0)


def _lowered_in_turn(scores: np.ndarray, affects: _Rivalry, spec: PostProcessingSpec) -> np.ndarray:
    """Computes ``score_decay.decay_in_turn`` row by row."""
    now, picked = scores.astype(np.float64), np.zeros_like(scores)
    for _ in range(min(spec.max_total_detections, len(scores))):
        best = int(np.argmax(now))
        picked[best] = max(now[best], 0.0)
        now *= np.exp(-np.square(affects(best)) / spec.soft_sigma)
        now[best] = -1.0
    return picked


def _lowered_at_once(scores: np.ndarray, affects: _Rivalry, spec: PostProcessingSpec) -> np.ndarray:
    """Computes ``score_decay.decay_at_once`` row by row."""
    most, exponents = np.zeros(len(scores)), np.zeros(len(scores))
    for number in range(len(scores)):  # better boxes come first, so ``most`` of this one is complete
        squares = np.square(affects(number)[number + 1 :])
        np.maximum(most[number + 1 :], squares, out=most[number + 1 :])
        np.maximum(exponents[number + 1 :], squares - most[number], out=exponents[number + 1 :])
    return (scores * np.exp(-exponents / SIGMA)).astype(scores.dtype)


_SUPPRESSIONS: dict[str, Callable[[np.ndarray, _Rivalry, PostProcessingSpec], np.ndarray]] = {
    "hard": _dropped,
    "diou": _dropped,
    "soft": _lowered_in_turn,
    "matrix": _lowered_at_once,
}
"""By the name of ``--nms``."""
