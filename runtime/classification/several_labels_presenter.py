"""The classes of an image for people: those from some probability on, with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from runtime.classification.presenter import COLUMNS, NamedClasses
from utils.images.lettering import RIGHT, WRONG, with_caption

NAMED_FROM = 0.5


class SeveralLabelsPresenter(NamedClasses):
    """Lists the classes of an image whose probability is high enough, the most probable first.

    Args:
        names: Names by class, or None.
        min_score: Classes with a lower probability are left out.
    """

    columns = COLUMNS

    def __init__(self, names: Sequence[str] | None, min_score: float) -> None:
        super().__init__(names)
        self._min_score = min_score

    def _chosen(self, probabilities: np.ndarray) -> Sequence[int]:
        order = np.argsort(-probabilities, kind="stable")
        return [int(k) for k in order if probabilities[k] >= self._min_score]

    def rows(self, entries: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """One row per class."""
        return [[entry[key] for key in self.columns] for entry in entries]

    def line(self, entries: Sequence[Mapping[str, Any]]) -> str:
        if not entries:
            return f"nothing with a probability of {self._min_score:g} or more"
        return super().line(entries)

    def example(self, image: Image.Image, entry: Mapping[str, Any]) -> Image.Image:
        """A copy of an evaluated image with a caption: its classes and what is wrong, in green if nothing is."""
        lines = []
        for number, probability, there in entry["classes"]:
            named = probability >= NAMED_FROM
            verdict = "" if named == bool(there) else " missed" if there else " wrong"
            lines.append((self._name(number), f" {probability:.2f}{verdict}"))
        right = all((probability >= NAMED_FROM) == bool(there) for _, probability, there in entry["classes"])
        return with_caption(image, lines or [("no class", "")], RIGHT if right else WRONG)
