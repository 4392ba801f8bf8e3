"""The view of images with one label each: their pictures and their statistics."""

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

_LEAST_SHARE = 0.05  # smallest share of a target at which its class is named
_NAMED = 2


class LabelView:
    """Labelled images of a resolved setup."""

    unit = "images"

    def __init__(self, setup: Setup) -> None:
        model = setup.config.model
        self._setup = setup
        self._names = model.class_names or ()
        self._offset = resolved(model, "label_offset")
        self._classes = resolved(model, "num_classes")
        self.side = display_side(resolved(model, "image_size"), 160, 320)

    def extra_tensors(self, batch: Any, targets: Any) -> dict[str, Any]:
        """Returns nothing: the targets suffice."""
        del batch, targets
        return {}

    def show_stored(self, record: StoredRecord) -> CaptionedPicture:
        number = self._class_of(record)
        image = stored_image(record)
        size = [image.height, image.width]
        label = number + self._offset
        facts = {"label": label, "name": self._name(number), "image_size_px": size}
        return CaptionedPicture(fitted(image, self.side), self._labelled(number), facts)

    def show_input(self, example: NetworkInput) -> CaptionedPicture:
        if "labels" in example.targets:  # evaluation
            shares = np.eye(self._classes)[int(example.targets["labels"])]
        else:
            shares = example.targets["probabilities"]
        order = np.argsort(-shares, kind="stable")[:_NAMED]
        named = [int(number) for number in order if shares[number] >= _LEAST_SHARE] or [int(order[0])]
        whole = len(named) == 1 and shares[named[0]] > 1 - 1e-6
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
                    counts[split][self._class_of(record)] += 1
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

    def _class_of(self, record: StoredRecord) -> int:
        """The number of a record's class.

        Raises:
            RunError: It has no label, or a label outside the network's classes.
        """
        if record.fault:
            raise RunError(record.fault)
        labels = LabelRange(offset=self._offset, count=self._classes, flag=f"--num_classes {self._classes}")
        fault = labels.fault_in(record.features)
        if fault is not None:
            raise RunError(fault.text)
        number: int = record.features[LABEL_KEY][0] - self._offset
        return number

    def _labelled(self, number: int) -> str:
        """The label of a class as stored in records, and its name."""
        return f"{number + self._offset} {self._name(number)}"

    def _name(self, number: int) -> str:
        return self._names[number] if number < len(self._names) else f"class {number}"
