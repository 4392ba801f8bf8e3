"""Composes scenes of scikit-learn's handwritten digits in COCO's format: a small set to learn detection on.

Run as ``python examples/make_scenes.py OUT``. OUT gets pictures in ``train``, ``val`` and ``unseen``, and
``annotations/train.json`` and ``annotations/val.json``, which say where the zeros, threes and fours of a picture are.
The three parts are composed of different digits (``examples/make_digits.py`` divides them), and every run writes the
same files. It is meant to be learned in minutes: three classes that look least alike, large dark digits on light
ground, none of them hidden.

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

import numpy as np
from make_digits import divide, enlarge, run  # the script beside this one
from PIL import Image

CLASSES = {0: "zero", 3: "three", 4: "four"}
SIDE_PX = 320
SCENES = {"train": 300, "val": 60, "unseen": 8}
FEWEST, MOST = 3, 6  # digits in a scene; one that finds no free place is left out
SMALLEST_PX, LARGEST_PX = 72, 128  # height of a digit
GAP_PX = 6  # between digits, and to the edge
_PARTS = {"train": "train", "val": "validation", "unseen": "unseen"}  # make_digits' names
_TRIES = 50
_FAINT, _FULL = 96, 176  # grey levels of a digit where ink begins and where it covers the ground


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A digit in a scene."""

    label: int
    source: int
    """Its index in scikit-learn's set."""
    box_px: tuple[int, int, int, int]
    """x, y, width and height, COCO's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A picture and what is in it."""

    image: Image.Image
    digits: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Digits:
    """The digits that one part's scenes are composed of: indices of all, and pixels and labels by index."""

    indices: list[int]
    pixels: np.ndarray
    labels: Sequence[int]


def ink_of(pixels: np.ndarray, height_px: int) -> np.ndarray:
    """How much a digit covers the ground: ``[h, w]`` in [0, 1], with ink in the first and the last row and column."""
    grey = np.asarray(enlarge(pixels, height_px), dtype=np.float64)
    ink = np.clip((grey - _FAINT) / (_FULL - _FAINT), 0.0, 1.0)
    rows, columns = np.flatnonzero(ink.max(axis=1) >= 0.5), np.flatnonzero(ink.max(axis=0) >= 0.5)
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def compose(digits: Digits, random: np.random.RandomState) -> Scene:
    """A scene of digits drawn from a part."""
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
    """A light ground with a little noise: ``[SIDE_PX, SIDE_PX, 3]``, values 0 to 255."""
    color = random.randint(170, 240, size=3)
    return color + random.normal(0.0, 5.0, size=(SIDE_PX, SIDE_PX, 3))


def _free_place(
    shape: tuple[int, ...], taken: Sequence[tuple[int, int, int, int]], random: np.random.RandomState
) -> tuple[int, int, int, int] | None:
    """A place where a digit of ``shape`` (height, width) touches no other, as x, y, width and height."""
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
    """What is in the scenes, by file name, as COCO's files say it; ``source`` is an addition that readers ignore."""
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
        How many digits each part has.
    """
    from sklearn.datasets import load_digits  # here, for it takes a second that --help need not

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
    """Random numbers of a scene's own. This generator's are the same in every version of NumPy."""
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
