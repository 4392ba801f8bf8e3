"""The view of images with one label each, or several: their pictures and their statistics."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from runtime.task import Setup
from tools.inspect.charts import ClassRow, class_chart
from tools.inspect.contact_sheet import display_side, fitted
from tools.inspect.network_inputs import NetworkInput
from tools.inspect.statistics import class_lines, count_line
from tools.inspect.stored_records import StoredRecord, stored_image, stored_records
from tools.inspect.view import MOST_RECORDS, CaptionedPicture, DatasetStatistics, ExtraSheet, Interruptible
from utils.config import resolved
from utils.errors import RunError
from utils.records.label_records import LABEL_KEY, LabelRange

_NO_LABEL = "no label"
_LEAST_SHARE = 0.05  # smallest share of a target at which its class is named
_NAMED, _MOST_NAMED = 2, 4


class LabelView:
    """Labelled images of a resolved setup."""

    unit = "images"

    def __init__(self, setup: Setup) -> None:
        model = setup.config.model
        self._setup = setup
        self._names = model.class_names or ()
        self._offset = resolved(model, "label_offset")
        self._classes = resolved(model, "num_classes")
        self._several = model.multi_label
        self.side = display_side(resolved(model, "image_size"), 160, 320)

    def extra_tensors(self, batch: Any, targets: Any) -> dict[str, Any]:
        """Returns nothing: the targets suffice."""
        del batch, targets
        return {}

    def show_stored(self, record: StoredRecord) -> CaptionedPicture:
        numbers = self._classes_of(record)
        image = stored_image(record)
        labels, names = [n + self._offset for n in numbers], [self._name(n) for n in numbers]
        facts: dict[str, Any] = {"labels": labels, "names": names}
        if not self._several:
            facts = {"label": labels[0], "name": names[0]}
        facts["image_size_px"] = [image.height, image.width]
        caption = " + ".join(self._labelled(n) for n in numbers) or _NO_LABEL
        return CaptionedPicture(fitted(image, self.side), caption, facts)

    def show_input(self, example: NetworkInput) -> CaptionedPicture:
        if "labels" not in example.targets:
            shares = example.targets["probabilities"]
        elif self._several:  # evaluation, as is the next
            shares = example.targets["labels"]
        else:
            shares = np.eye(self._classes)[int(example.targets["labels"])]
        order = np.argsort(-shares, kind="stable")[: _MOST_NAMED if self._several else _NAMED]
        named = [int(number) for number in order if shares[number] >= _LEAST_SHARE]
        if not named and self._several:
            return CaptionedPicture(fitted(example.image, self.side), _NO_LABEL, {"target": {}})
        named = named or [int(order[0])]
        whole = all(shares[number] > 1 - 1e-6 for number in named)
        words = [self._labelled(n) if whole else f"{self._labelled(n)} {shares[n]:.2f}" for n in named]
        targets = {self._name(n): round(float(shares[n]), 6) for n in named}
        return CaptionedPicture(fitted(example.image, self.side), " + ".join(words), {"target": targets})

    def extra_sheets(self) -> dict[str, ExtraSheet]:
        return {}

    def statistics(self, interruptible: Interruptible) -> DatasetStatistics:
        counts: dict[str, Counter[int]] = {}
        faults, counted = [], {}
        for split, files in self._setup.splits.items():
            counts[split] = Counter()
            looked = 0
            for record in interruptible(stored_records(files, MOST_RECORDS)):
                looked += 1
                try:
                    counts[split].update(self._classes_of(record))
                except RunError as error:
                    path, number = files.locate(record.number)
                    faults.append(f"{path}, record {number}: {error}")
            counted[split] = {"examples": files.examples, "looked_at": looked}
        seen = max((number for part in counts.values() for number in part), default=0)
        rows = [
            ClassRow(self._labelled(n), {split: counts[split][n] for split in counts})
            for n in range(len(self._names) or seen + 1)
        ]
        facts = {
            "splits": counted,
            "classes": [{"label": n + self._offset, "name": self._name(n), **row.counts} for n, row in enumerate(rows)],
        }
        lines = [f"{split}: {count_line(part, self.unit)}" for split, part in counted.items()]
        charts = {"classes.png": class_chart(rows, list(counts), self.unit)}
        return DatasetStatistics(
            facts=facts, lines=[*lines, *class_lines(rows, list(counts))], charts=charts, faults=faults
        )

    def _classes_of(self, record: StoredRecord) -> list[int]:
        """The numbers of a record's classes; one unless an image may have several.

        Raises:
            RunError: It has no label but needs one, or a label outside the network's classes.
        """
        if record.fault:
            raise RunError(record.fault)
        flag = f"--num_classes {self._classes}"
        labels = LabelRange(offset=self._offset, count=self._classes, flag=flag, several=self._several)
        fault = labels.fault_in(record.features)
        if fault is not None:
            raise RunError(fault.text)
        return [int(label) - self._offset for label in record.features.get(LABEL_KEY, ())]

    def _labelled(self, number: int) -> str:
        """The label of a class as stored in records, and its name."""
        return f"{number + self._offset} {self._name(number)}"

    def _name(self, number: int) -> str:
        return self._names[number] if number < len(self._names) else f"class {number}"
