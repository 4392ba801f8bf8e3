"""Class probabilities for people: the best predictions with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from utils.errors import RunError
from utils.images.lettering import RIGHT, WRONG, with_caption

COLUMNS = ("class", "name", "probability")


class NamedClasses:
    """Lists classes of an image with their names and probabilities; a subclass chooses them."""

    draws = False

    def __init__(self, names: Sequence[str] | None) -> None:
        self._names = names

    def _chosen(self, probabilities: np.ndarray) -> Sequence[int]:
        """The classes to list, in order."""
        raise NotImplementedError

    def entries(self, arrays: Mapping[str, np.ndarray], size_px: tuple[int, int]) -> list[dict[str, Any]]:
        """Class, name and probability of each listed class, the most probable first.

        Raises:
            RunError: A probability is not finite.
        """
        del size_px
        probabilities = arrays["probabilities"]
        if not np.isfinite(probabilities).all():
            raise RunError("the network's probabilities are not finite: the weights are damaged")
        return [
            {"class": int(k), "name": self._name(int(k)), "probability": round(float(probabilities[k]), 6)}
            for k in self._chosen(probabilities)
        ]

    def line(self, entries: Sequence[Mapping[str, Any]]) -> str:
        return "  ".join(f"{entry['name']} {entry['probability']:.4f}" for entry in entries)

    def picture(self, image: Any, entries: Sequence[Mapping[str, Any]]) -> Any:
        raise NotImplementedError("predicted classes cannot be drawn")

    def _name(self, class_index: int) -> str:
        """The name of a class; logits beyond the classes, as in a head of 1001 for 1000 classes, get their number."""
        names = self._names
        return str(class_index) if names is None or class_index >= len(names) else names[class_index]


class ClassPresenter(NamedClasses):
    """Lists the most probable classes of an image.

    Args:
        names: Names by class, or None.
        top_k: Number of classes to list.
    """

    def __init__(self, names: Sequence[str] | None, top_k: int) -> None:
        super().__init__(names)
        self._top_k = top_k
        self.columns = tuple(f"{kind}_{rank}" for rank in range(1, top_k + 1) for kind in COLUMNS)

    def _chosen(self, probabilities: np.ndarray) -> Sequence[int]:
        chosen: list[int] = np.argsort(-probabilities, kind="stable")[: self._top_k].tolist()
        return chosen

    def rows(self, entries: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """One row with all predictions."""
        return [[entry[key] for entry in entries for key in COLUMNS]]

    def example(self, image: Image.Image, entry: Mapping[str, Any]) -> Image.Image:
        """A copy of an evaluated image with a caption: the prediction in green, or in red with the true class."""
        right = entry["answer"] == entry["label"]
        lines = [(self._name(entry["answer"]), f" {entry['confidence']:.2f}")]
        if not right:
            lines.append((f"is {self._name(entry['label'])}", f" {entry['of_label']:.2f}"))
        return with_caption(image, lines, RIGHT if right else WRONG)
