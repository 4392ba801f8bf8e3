"""Finds images that a data set holds more than once: identical bytes, or near-duplicates (no TF).

Two images are near-duplicates if their ``THUMB_SIDE``² grey pixels, with mean 0 and norm 1, have an inner product of at
least ``SIMILAR``: brightness, contrast, size and compression may differ. Images with almost no contrast are left out,
as they all look alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tools.validate.decoded_image import THUMB_SIDE
from tools.validate.findings import Finding, Place
from tools.validate.scan import ScannedImage

SIMILAR = 0.99  # copies of photographs reach 0.983 and mostly 0.99, different ones of like things 0.978
LEAST_CONTRAST = 4.0  # standard deviation in grey levels
_ROWS = 4096  # images of each side to compare at a time

Array = NDArray[np.float32]


def duplicates(images: Sequence[ScannedImage]) -> list[Finding]:
    """Findings about duplicate images, in training and another split or within one split.

    For an image in two splits, names the training copy; for duplicates within a split, all but the first.
    """
    first: dict[bytes, dict[str, Place]] = {}
    found = []
    for image in images:
        if not image.thumb:
            continue
        places = first.setdefault(image.digest, {})
        split = image.place.split
        if split in places:
            found.append(Finding("duplicate", image.place, f"is the same image as {places[split]}"))
        places.setdefault(split, image.place)
    for image in images:
        others = [place for split, place in first.get(image.digest, {}).items() if split != "train"]
        if image.place.split == "train" and others:
            other = others[0]
            found.append(Finding("duplicate_in_splits", image.place, f"is the same image as {other} of {other.split}"))
    return found


def near_duplicates(images: Sequence[ScannedImage]) -> list[Finding]:
    """Findings about training images that look the same as an image of another split, with different bytes."""
    usable = [image for image in images if image.thumb]
    train = [image for image in usable if image.place.split == "train"]
    other = [image for image in usable if image.place.split != "train"]
    if not train or not other:
        return []
    kept = {image.digest for image in other}
    found = []
    for i, j, likeness in most_similar(_normal(train), _normal(other)):
        if train[i].digest not in kept:
            place = other[j].place
            text = f"looks the same as {place} of {place.split} (likeness {likeness:.4f})"
            found.append(Finding("similar_in_splits", train[i].place, text))
    return found


def most_similar(left: Array, right: Array) -> Iterator[tuple[int, int, float]]:
    """Yields each row of ``left`` that looks like a row of ``right``, its best match, and their inner product."""
    for start in range(0, len(left), _ROWS):
        part = left[start : start + _ROWS]
        best, value = np.zeros(len(part), np.int64), np.full(len(part), -1.0, np.float32)
        for first in range(0, len(right), _ROWS):
            products = part @ right[first : first + _ROWS].T
            nearest = products.argmax(axis=1)
            reached = products[np.arange(len(part)), nearest]
            best, value = np.where(reached > value, first + nearest, best), np.maximum(value, reached)
        for row in np.flatnonzero(value >= SIMILAR):
            yield start + int(row), int(best[row]), float(value[row])


def _normal(images: Sequence[ScannedImage]) -> Array:
    """``[images, THUMB_SIDE²]``: rows of mean 0 and norm 1; zeros for images with almost no contrast."""
    grey = np.frombuffer(b"".join(image.thumb for image in images), np.uint8).reshape(-1, THUMB_SIDE**2)
    centred = grey.astype(np.float32) - grey.mean(axis=1, keepdims=True, dtype=np.float32)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    usable = norm >= LEAST_CONTRAST * THUMB_SIDE
    normal: Array = np.where(usable, centred / np.maximum(norm, 1e-6), 0.0).astype(np.float32)
    return normal
