"""Copies of images with predictions drawn in, named like the originals."""

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
from utils.files.atomic_file import make_folder_inside, write_atomically
from utils.images.image_files import load_rgb

JPEG_QUALITY = 92


class Pictures:
    """Draws one picture per image, or per frame of a video.

    Args:
        folder: Folder for the pictures; created with the first one.
        files: All images that may be drawn. Pictures keep the subfolders of the images below their common folder.
    """

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._folder = folder
        self._files = files
        absolute = [Path(os.path.abspath(path)) for path in files]  # noqa: PTH100  (pathlib keeps "..")
        root = os.path.commonpath([path.parent for path in absolute])
        names = [path.relative_to(root) for path in absolute]
        # "a.jpg" and "a.png" keep their suffixes. So does "a.jpg.png", which would otherwise get the name of the first
        # one.
        alike = Counter(name.with_suffix("") for name in names) + Counter(names)
        self._names = [
            name.with_suffix(".jpg") if alike[name.with_suffix("")] == 1 else name.with_name(f"{name.name}.jpg")
            for name in names
        ]

    def draw(
        self,
        number: int,
        entries: Sequence[Mapping[str, Any]],
        presenter: Presenter,
        frame: tuple[int, bytes] | None = None,
    ) -> str:
        """Draws the image with this number among the files, or a frame of a video.

        Args:
            number: Number of the file.
            entries: The predictions to draw.
            presenter: Draws them.
            frame: Number and encoded image of a frame; its picture is in a folder named like the video.

        Returns:
            The path of the picture; bytes that are not UTF-8 appear as escapes.

        Raises:
            RunError: The picture cannot be written.
        """
        encoded = load_rgb(self._files[number]).data if frame is None else frame[1]
        with Image.open(io.BytesIO(encoded)) as image:
            picture = presenter.picture(image, entries)
        target = self._folder / self._names[number]
        if frame is not None:
            target = target.with_suffix("") / f"{frame[0]:06}.jpg"
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
        try:
            make_folder_inside(self._folder.parent, target.parent.relative_to(self._folder.parent))
            write_atomically(target, buffer.getvalue())
        except OSError as error:
            raise RunError(f"--results_dir: {target} cannot be written: {error.strerror}") from error
        return name_in_utf8(target)


def name_in_utf8(path: Path) -> str:
    """A file's name as stored on disk, whatever the locale; bytes that are not UTF-8 appear as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
