"""Composes scenes of scikit-learn's handwritten digits in COCO's format: a small data set for detection.

Run as ``python examples/make_scenes.py OUT``. It writes pictures to ``train``, ``val`` and ``unseen`` in OUT, and the
places of zeros, threes and fours to ``annotations/train.json`` and ``annotations/val.json``. The three splits use
different digits (``examples/make_digits.py`` splits them), and every run writes the same files. A detector can learn it
in minutes: three classes that look least alike, and large dark digits on a light background without occlusion.

Source: the digits are those of ``examples/make_digits.py``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.program import begin

    begin()

import numpy as np
from PIL import Image

from examples.make_digits import divide, enlarge, run

CLASSES = {0: "zero", 3: "three", 4: "four"}
SIDE_PX = 320
SCENES = {"train": 300, "val": 60, "unseen": 8}
FEWEST, MOST = 3, 6  # digits in a scene; one without a free place is left out
SMALLEST_PX, LARGEST_PX = 72, 128  # height of a digit
GAP_PX = 6  # between digits, and to the edge
_PARTS = {"train": "train", "val": "validation", "unseen": "unseen"}  # make_digits' names
_TRIES = 50
_FAINT, _FULL = 96, 176  # grey levels of a digit at which ink begins and becomes opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A digit in a scene."""

    label: int
    source: int
    """Index of the digit in scikit-learn's set."""
    box_px: tuple[int, int, int, int]
    """x, y, width and height, COCO's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A picture and its digits."""

    image: Image.Image
    digits: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Digits:
    """The digits for one split's scenes: their indices, with the pixels and labels of the whole set."""

    indices: list[int]
    pixels: np.ndarray
    labels: Sequence[int]


def ink_of(pixels: np.ndarray, height_px: int) -> np.ndarray:
    """Returns a digit's opacity, ``[h, w]`` in [0, 1], cropped to its ink."""
    grey = np.asarray(enlarge(pixels, height_px), dtype=np.float64)
    ink = np.clip((grey - _FAINT) / (_FULL - _FAINT), 0.0, 1.0)
    rows, columns = np.flatnonzero(ink.max(axis=1) >= 0.5), np.flatnonzero(ink.max(axis=0) >= 0.5)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def compose(digits: Digits, random: np.random.RandomState) -> Scene:
    """Composes a scene of random digits of a split."""
    canvas = _ground(random)
    placed: list[Placed] = []
    for _ in range(random.randint(FEWEST, MOST + 1)):
        source = digits.indices[random.randint(len(digits.indices))]
        ink = ink_of(digits.pixels[source], random.randint(SMALLEST_PX, LARGEST_PX + 1))
        color = random.randint(0, 90, size=3)
        box_px = _free_place(ink.shape, [other.box_px for other in placed], random)
        if box_px is None:
            continue
        x, y, width, height = box_px
        part = canvas[y : y + height, x : x + width]
        part += ink[:, :, None] * (color - part)
        placed.append(Placed(label=int(digits.labels[source]), source=source, box_px=box_px))
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return Scene(image=Image.fromarray(pixels), digits=tuple(placed))


def _ground(random: np.random.RandomState) -> np.ndarray:
    """Returns a light background with a little noise: ``[SIDE_PX, SIDE_PX, 3]``, values 0 to 255."""
    color = random.randint(170, 240, size=3)
    return color + random.normal(0.0, 5.0, size=(SIDE_PX, SIDE_PX, 3))


def _free_place(
    shape: tuple[int, ...], taken: Sequence[tuple[int, int, int, int]], random: np.random.RandomState
) -> tuple[int, int, int, int] | None:
    """Finds a place for a digit of ``shape`` (height, width) away from others: x, y, width and height, or None."""
    height, width = shape
    for _ in range(_TRIES):
        x = random.randint(GAP_PX, SIDE_PX - GAP_PX - width + 1)
        y = random.randint(GAP_PX, SIDE_PX - GAP_PX - height + 1)
        if all(
            x >= left + across + GAP_PX
            or left >= x + width + GAP_PX
            or y >= top + down + GAP_PX
            or top >= y + height + GAP_PX
            for left, top, across, down in taken
        ):
            return x, y, width, height
    return None


def annotations_of(scenes: dict[str, Scene]) -> dict[str, Any]:
    """Returns COCO annotations of the scenes, given by file name; the extra key ``source`` is ignored by readers."""
    categories = {label: number for number, label in enumerate(CLASSES, start=1)}
    images, annotations = [], []
    for image_id, (name, scene) in enumerate(scenes.items(), start=1):
        images.append({"id": image_id, "file_name": name, "width": SIDE_PX, "height": SIDE_PX})
        for digit in scene.digits:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": categories[digit.label],
                    "bbox": list(digit.box_px),
                    "area": digit.box_px[2] * digit.box_px[3],
                    "iscrowd": 0,
                    "source": digit.source,
                }
            )
    return {
        "info": {"description": "Scenes of handwritten digits"},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": CLASSES[label], "supercategory": "digit"} for label, number in categories.items()
        ],
    }


def make_scenes(out: Path) -> dict[str, int]:
    """Writes pictures and annotations.

    Returns:
        The number of digits in each split.
    """
    from sklearn.datasets import load_digits  # imported here to keep --help fast

    data = load_digits()
    labels = [int(label) for label in data.target]
    divided = divide(labels)
    counts = {}
    (out / "annotations").mkdir(parents=True, exist_ok=True)
    for part, count in SCENES.items():
        indices = [index for index in divided[_PARTS[part]] if labels[index] in CLASSES]
        digits = Digits(indices, data.images, labels)
        scenes = {f"{part}-{n:04d}.jpg": compose(digits, _random(f"{part} scene {n}")) for n in range(1, count + 1)}
        (out / part).mkdir(exist_ok=True)
        for name, scene in scenes.items():
            scene.image.save(out / part / name, quality=90)
        if part != "unseen":
            text = json.dumps(annotations_of(scenes), indent=1)
            (out / "annotations" / f"{part}.json").write_text(text + "\n", encoding="utf-8")
        counts[part] = sum(len(scene.digits) for scene in scenes.values())
    return counts


def _random(name: str) -> np.random.RandomState:
    """Returns a generator seeded by a scene's name; its numbers are the same in every version of NumPy."""
    return np.random.RandomState(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""

    def make(out: Path) -> str:
        counts = make_scenes(out)
        parts = ", ".join(f"{part} {SCENES[part]} ({counts[part]:,} digits)" for part in SCENES)
        return f"scenes of {len(CLASSES)} digits in {out}: {parts}"

    return run("make_scenes.py", __doc__, make, arguments)


if __name__ == "__main__":
    sys.exit(main())
