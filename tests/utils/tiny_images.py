"""Small images of every kind as bytes and in folders, for the tests of the converter."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def pattern(height: int = 24, width: int = 36, seed: int = 0) -> np.ndarray:
    """A smooth [height, width, 3] uint8 picture with no symmetry."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options) -> bytes:
    """The bytes of an image file."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(seed: int = 0, orientation: int | None = None, **options) -> bytes:
    """A JPEG photograph, with an EXIF orientation if given."""
    if orientation is not None:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    return encoded(pattern(seed=seed), "JPEG", quality=95, **options)


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    """Writes files by path below ``root`` and creates folders; a path that ends in "/" creates an empty folder."""
    for name, data in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def two_classes(root: Path, train: int = 6, validation: int = 3) -> Path:
    """A data set of two classes, cat and dog, with the given numbers of images of each in its two splits."""
    files = {}
    for split, count in (("train", train), ("validation", validation)):
        for index in range(count):
            for offset, name in enumerate(("cat", "dog")):
                seed = 1000 * offset + index + (500 if split == "validation" else 0)
                files[f"{split}/{name}/{name}{index}.jpg"] = jpeg(seed)
    return write_files(root, files)
