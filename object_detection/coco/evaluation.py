"""COCO metrics of a detector over a split, or of a file of results (no TF).

Boxes arrive as ``[ymin, xmin, ymax, xmax]`` in [0, 1] and become ``[x, y, width, height]`` in pixels of the original
image, rounded to thousandths. For groundtruth this restores the numbers of the annotation file; detections are scored
exactly as they are written, so that scoring the results file gives the same metrics.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from object_detection.coco import report as coco_report
from object_detection.coco.details import details
from object_detection.coco.intervals import QUICK, Intervals, intervals, judged_detections, per_image
from object_detection.coco.metrics import Groundtruth, Results, Summary, score_arrays
from object_detection.coco.tables import Comparison, from_json, results_json, round_px, shortest, to_pixels
from object_detection.records.object_records import image_numbers
from utils.errors import RunError
from utils.metric_names import INTERVALS

CATEGORY_KEY = "PerformanceByCategory/mAP/"
RESULTS_FILE = "detections.json"
_COLUMNS = (
    "detection_boxes",
    "detection_scores",
    "detection_classes",
    "num_detections",
    "groundtruth_boxes",
    "groundtruth_classes",
    "groundtruth_area",
    "groundtruth_is_crowd",
    "num_groundtruth",
    "image_size",
    "source_id",
    "index",
)


def score(groundtruth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> Summary:
    """Scores a list of detections against a COCO annotation file, both as ``json.load`` reads them.

    Raises:
        RunError: One of them is invalid.
    """
    comparison = from_json(groundtruth, results)
    return score_arrays(comparison.groundtruth, comparison.results, list(comparison.categories))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Image:
    """An evaluated image; ``index`` is its place in the split."""

    index: int
    source_id: bytes
    height_px: int
    width_px: int


class CocoEvaluator:
    """Computes average precision and recall over a split, counting each image once.

    The result does not depend on the order of the images, the batch size or the order of ``merge`` calls. A repeated
    example (same "index" and "source_id") is skipped, because benchmarks repeat a split.

    Args:
        categories: Id and name of each scored category. Objects and detections of other categories are left out.
        quick: Leave out intervals that take longer than about a second, and the error analysis of as many detections.

    Raises:
        ValueError: Two categories have the same id.
    """

    def __init__(self, categories: Sequence[tuple[int, str]], *, quick: bool = False) -> None:
        self._quick = quick
        self._categories = dict(categories)
        if len(self._categories) < len(categories):
            raise ValueError("two categories have the same id")
        self._images: dict[tuple[int, bytes], _Image] = {}
        # Until the end, tables hold an image's number in the order of arrival in place of its id.
        self._groundtruth: list[Groundtruth] = []
        self._results: list[Results] = []
        self._scored: tuple[Comparison, Summary] | None = None
        self._intervals: Intervals | None = None

    def update(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds the images of a batch.

        Args:
            arrays: "detection_boxes" [N, D, 4], "detection_scores" [N, D], "detection_classes" [N, D] category ids,
                "num_detections" [N]; "groundtruth_boxes" [N, G, 4], "groundtruth_classes" [N, G] category ids,
                "groundtruth_area" [N, G] in px² of the original image, "groundtruth_is_crowd" [N, G],
                "num_groundtruth" [N]; "image_size" [N, 2], height and width of the original in pixels; "source_id" [N]
                bytes, the image id in decimal; "index" [N], the example's place in its split.

        Raises:
            RunError: A box or a score is not finite.
        """
        first = len(self._images)
        new = self._add_images(arrays)
        batch = {name: np.asarray(arrays[name])[new] for name in _COLUMNS}
        sizes = batch["image_size"]
        image, slot = _filled(batch["num_detections"], batch["detection_scores"])
        boxes, scores = batch["detection_boxes"][image, slot], batch["detection_scores"][image, slot]
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise RunError("the network's detections are not finite: the weights are damaged or the precision too low")
        self._results.append(
            Results(
                image_ids=first + image,
                category_ids=batch["detection_classes"][image, slot].astype(np.int64),
                boxes_px=to_pixels(boxes, sizes[image]),
                scores=shortest(scores),
            )
        )
        image, slot = _filled(batch["num_groundtruth"], batch["groundtruth_classes"])
        boxes, areas = batch["groundtruth_boxes"][image, slot], batch["groundtruth_area"][image, slot]
        for broken in image[~(np.isfinite(boxes).all(axis=1) & np.isfinite(areas))][:1]:
            index, source_id = batch["index"][broken], bytes(batch["source_id"][broken])
            raise RunError(f"example {index} (image id {source_id.decode()!r}): a box or area is not finite")
        self._groundtruth.append(
            Groundtruth(
                image_ids=first + image,
                category_ids=batch["groundtruth_classes"][image, slot].astype(np.int64),
                boxes_px=to_pixels(boxes, sizes[image]),
                areas_px=round_px(areas),
                crowds=batch["groundtruth_is_crowd"][image, slot].astype(bool),
            )
        )

    def _add_images(self, arrays: Mapping[str, np.ndarray]) -> list[int]:
        """Adds the new images of a batch and returns their rows."""
        self._scored = self._intervals = None
        new = []
        columns = (arrays["index"], arrays["source_id"], arrays["image_size"])
        for row, (index, source_id, (height, width)) in enumerate(zip(*columns, strict=True)):
            key = (int(index), bytes(source_id))
            if key not in self._images:
                self._images[key] = _Image(index=key[0], source_id=key[1], height_px=int(height), width_px=int(width))
                new.append(row)
        return new

    def merge(self, other: CocoEvaluator) -> None:
        """Adds the images of another evaluator.

        Raises:
            RunError: Both have seen the same example.
        """
        self._scored = self._intervals = None
        first = len(self._images)
        for index, source_id in self._images.keys() & other._images.keys():
            raise RunError(f"image id {source_id.decode()!r} (example {index}) was evaluated by two processes")
        self._images.update(other._images)
        self._groundtruth += [_renumbered(table, first) for table in other._groundtruth]
        self._results += [_renumbered(table, first) for table in other._results]

    def result(self) -> dict[str, float]:
        """Returns the twelve COCO metrics, average precision by category, and the number of images.

        Metrics are in [0, 1]; -1 if there is no groundtruth for one.

        Raises:
            RunError: No image was evaluated, or two images have the same id.
        """
        comparison, summary = self._score()
        keys = _category_keys(comparison)
        by_category = {keys[category]: value for category, value in summary.by_category.items()}
        return {**summary.metrics, **by_category, "images": len(self._images)}

    def statistics(self) -> dict[str, Any]:
        """Returns the intervals of the metrics; those that take too long are left out.

        Raises:
            RunError: As ``result``.
        """
        metrics, by_category = self._resampled()
        keys = _category_keys(self._score()[0])
        return {INTERVALS: {**metrics, **{keys[category]: ends for category, ends in by_category.items()}}}

    def _resampled(self) -> Intervals:
        if self._takes_long():
            return {}, {}
        if self._intervals is None:
            self._intervals = intervals(*self._score())
        return self._intervals

    def _takes_long(self) -> bool:
        return self._quick and judged_detections(*self._score()).cost() > QUICK

    def artefacts(self) -> dict[str, bytes]:
        """Returns files by name: the detections in the format of the COCO server.

        Raises:
            RunError: As ``result``.
        """
        return {RESULTS_FILE: results_json(self._score()[0])}

    def report(self) -> str:
        """Returns the metrics as pycocotools prints them, with the likely cause if they are near zero.

        Raises:
            RunError: As ``result``.
        """
        return coco_report.report(*self._score())

    def details(self, *, final: bool = True) -> dict[str, Any]:
        """Returns figures per category, precision-recall curves, confusions, errors, and the worst pictures.

        Args:
            final: Analyse the errors even if it takes long.

        Raises:
            RunError: As ``result``.
        """
        comparison, summary = self._score()
        indices = (image.index for image in self._images.values())
        findings = coco_report.findings(comparison, summary)
        by_id = dict(zip(comparison.image_ids.tolist(), indices, strict=True))
        found = details(comparison, summary, by_id, with_errors=final or not self._takes_long())
        by_category = self._resampled()[1]
        for row in found["classes"]:
            row["interval"] = by_category.get(row["id"])
        return {**found, "per_image": per_image(comparison, summary), "findings": findings}

    def _score(self) -> tuple[Comparison, Summary]:
        if not self._images:
            raise RunError("no image could be evaluated")
        if self._scored is None:
            comparison = self._comparison()
            tables = comparison.groundtruth, comparison.results
            self._scored = comparison, score_arrays(*tables, list(comparison.categories))
        return self._scored

    def _comparison(self) -> Comparison:
        images = [*self._images.values()]
        image_ids = _image_ids(images)
        groundtruth, results = _joined(self._groundtruth), _joined(self._results)
        return Comparison(
            image_ids=image_ids,
            sizes_px=np.array([(image.height_px, image.width_px) for image in images], np.float64),
            categories=self._categories,
            groundtruth=dataclasses.replace(groundtruth, image_ids=image_ids[groundtruth.image_ids]),
            results=dataclasses.replace(results, image_ids=image_ids[results.image_ids]),
        )


def _category_keys(comparison: Comparison) -> dict[int, str]:
    """Returns the log key of each category's average precision; names that come twice get their id."""
    repeated = {name for name, times in Counter(comparison.categories.values()).items() if times > 1}
    return {
        category: f"{CATEGORY_KEY}{name} ({category})" if name in repeated else CATEGORY_KEY + name
        for category, name in comparison.categories.items()
    }


def _filled(counts: np.ndarray, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows and slots, ``[n]`` each, of the entries of a padded table ``[N, S]`` that are not padding."""
    rows, columns = np.nonzero(np.arange(slots.shape[1]) < counts[:, np.newaxis])
    return rows, columns


def _renumbered(table: Any, first: int) -> Any:
    return dataclasses.replace(table, image_ids=table.image_ids + first)


def _joined(tables: Sequence[Any]) -> Any:
    """Concatenates tables of one kind."""
    kind = type(tables[0])
    return kind(**{name: np.concatenate([getattr(table, name) for table in tables]) for name in kind.__slots__})


def _image_ids(images: Sequence[_Image]) -> np.ndarray:
    """Returns the id of each image: its source id, or index + 1 for all images if some source ids are not numbers.

    Raises:
        RunError: Two images have the same id.
    """
    strange = [image for image in images if image_numbers([image.source_id]) is None]
    if strange:
        logging.getLogger(__name__).warning(
            "image/source_id is not a number in %d of %d images (%r is the first): images are numbered from 1 instead",
            len(strange),
            len(images),
            strange[0].source_id.decode(errors="replace"),
        )
    ids = [image.index + 1 if strange else int(image.source_id) for image in images]
    for image_id, times in Counter(ids).most_common(1):
        if times > 1:
            examples = [image.index for image, same in zip(images, ids, strict=True) if same == image_id]
            raise RunError(
                f"image id {image_id} comes {times} times, in examples {examples[0]} and {examples[1]} of the split; "
                "image/source_id must be unique"
            )
    return np.array(ids, np.int64)
