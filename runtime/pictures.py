"""Copies of images with predictions drawn in, under the names of the originals."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from runtime.task import Presenter
from utils.errors import RunError
from utils.files.atomic_file import write_atomically
from utils.images.image_files import load_rgb

JPEG_QUALITY = 92


class Pictures:
    """Draws one picture a file.

    Args:
        folder: Where they go; made when the first one comes.
        files: All images that may be drawn. Pictures keep the folders that these have below their common one.
    """

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._folder = folder
        self._files = files
        root = os.path.commonpath([path.absolute().parent for path in files])
        names = [path.absolute().relative_to(root) for path in files]
        # "a.jpg" and "a.png" keep their suffixes, and so does "a.jpg.png", which else would be the first one's picture.
        alike = Counter(name.with_suffix("") for name in names) + Counter(names)
        self._names = [
            name.with_suffix(".jpg") if alike[name.with_suffix("")] == 1 else name.with_name(f"{name.name}.jpg")
            for name in names
        ]

    def draw(self, number: int, entries: Sequence[Mapping[str, Any]], presenter: Presenter) -> str:
        """Draws the image of this number among the files.

        Returns:
            Where the picture is; bytes of its name that are not UTF-8 as escapes.

        Raises:
            RunError: It cannot be written.
        """
        with Image.open(io.BytesIO(load_rgb(self._files[number]).data)) as image:
            picture = presenter.picture(image, entries)
        target = self._folder / self._names[number]
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, buffer.getvalue())
        except OSError as error:
            raise RunError(f"--results_dir: {target} cannot be written: {error.strerror}") from error
        return name_in_utf8(target)


def name_in_utf8(path: Path) -> str:
    """A file's name as it is on the disk, whatever the locale; bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
