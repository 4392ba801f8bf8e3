"""Writes scikit-learn's handwritten digits as folders of PNG files: a small set of real images to try things on.

Run as ``python examples/make_digits.py OUT``. It writes ``train/<class>``, ``validation/<class>`` and ``unseen`` to
OUT, with classes 0 to 9. Every image is in one of the three, and every run writes the same files.

Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI repository, 1998 (the test split, 1,797
images of 8x8 pixels, as included in scikit-learn).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.program import begin

    begin()

import numpy as np
from PIL import Image

SIZE_PX = 32
UNSEEN_PER_CLASS = 4
VALIDATION_PER_CLASS = 34  # about a fifth
_LARGEST_VALUE = 16  # pixel values are 0 to 16: the number of inked pixels in a 4x4 block


def enlarge(pixels: np.ndarray, size_px: int = SIZE_PX) -> Image.Image:
    """Converts an 8x8 digit of values 0 to 16 to an 8-bit grey image of ``size_px`` by ``size_px``."""
    grey = np.rint(pixels * (255 / _LARGEST_VALUE)).astype(np.uint8)
    return Image.fromarray(grey).resize((size_px, size_px), Image.Resampling.BICUBIC)


def _random_key(index: int) -> bytes:
    """Returns a sort key that shuffles indices in the same way with every library version."""
    return hashlib.sha256(f"digit {index}".encode()).digest()


def divide(labels: Sequence[int]) -> dict[str, list[int]]:
    """Returns the indices of the unseen, validation and training images, splitting each class separately."""
    parts: dict[str, list[int]] = {"unseen": [], "validation": [], "train": []}
    for digit in range(10):
        indices = sorted((index for index, label in enumerate(labels) if label == digit), key=_random_key)
        first, second = UNSEEN_PER_CLASS, UNSEEN_PER_CLASS + VALIDATION_PER_CLASS
        parts["unseen"] += indices[:first]
        parts["validation"] += indices[first:second]
        parts["train"] += indices[second:]
    return parts


def make_digits(out: Path) -> int:
    """Writes the folders.

    Returns:
        The number of images written.
    """
    from sklearn.datasets import load_digits  # imported here to keep --help fast

    digits = load_digits()
    labels = [int(label) for label in digits.target]
    count = 0
    for part, indices in divide(labels).items():
        for index in sorted(indices):
            folder = out / part if part == "unseen" else out / part / str(labels[index])
            folder.mkdir(parents=True, exist_ok=True)
            name = f"digit-{labels[index]}-{index:04d}.png" if part == "unseen" else f"{index:04d}.png"
            enlarge(digits.images[index]).save(folder / name)
            count += 1
    return count


def run(script: str, description: str, make: Callable[[Path], str], arguments: Sequence[str] | None) -> int:
    """Runs a script that fills a folder.

    Args:
        script: The script's name.
        description: The script's docstring; --help shows its first paragraph.
        make: Fills the folder and returns a description of its content.
        arguments: The command line, or None for that of this process.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog=f"python examples/{script}", description=description.split("\n\n")[0])
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write to; created if missing")
    out: Path = parser.parse_args(arguments).out
    try:
        print(make(out))
    except ImportError as error:
        print(f"error: needs scikit-learn, which is not installed ({error})", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {out}: cannot be written ({error.strerror})", file=sys.stderr)
        return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""

    def make(out: Path) -> str:
        return f"{make_digits(out):,} images of 10 digits in {out}: train, validation, unseen"

    return run("make_digits.py", __doc__, make, arguments)


if __name__ == "__main__":
    sys.exit(main())
