"""The images that ``--to_predict`` names (no TF)."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from utils.config import RunConfig
from utils.errors import RunError
from utils.images.image_files import IMAGE_SUFFIXES, has_image_name, kind_of_file
from utils.images.videos import is_video, require_reader
from utils.suggestions import path_hint

PICTURES = "pictures"
"""The subfolder for images with drawn predictions."""


class FoundFiles(NamedTuple):
    """The sorted images and videos to predict on, and the number of other files in the folder by kind."""

    images: list[Path]
    others: Mapping[str, int]


def images_to_predict(run: RunConfig) -> FoundFiles:
    """The files that ``--to_predict`` names, without the pictures of earlier predictions.

    Raises:
        UsageError: There is a video, and the package that reads videos is missing.
        RunError: There are none.
    """
    drawn = (Path(run.results_dir) / PICTURES).resolve()
    found = find_images(str(run.to_predict))
    for path in filter(is_video, found.images):
        require_reader(path)
    return found._replace(images=[path for path in found.images if drawn not in path.resolve().parents])


def find_images(pattern: str) -> FoundFiles:
    """The images that a path stands for: an image or a video, the images of a folder (recursively), or a glob.

    Raises:
        RunError: There are no images.
    """
    path = Path(pattern)
    if path.is_file():
        return FoundFiles([path], {})
    if path.is_dir():
        files = [p for p in sorted(path.rglob("*")) if p.is_file() and not _in_hidden_folder(p, path)]
        found = [p for p in files if has_image_name(p.name)]
        if not found:
            raise RunError(f"--to_predict {pattern}: the folder holds no image ({' '.join(sorted(IMAGE_SUFFIXES))})")
        return FoundFiles(found, Counter(kind_of_file(p.name) for p in files if not has_image_name(p.name)))
    found = [p for p in map(Path, sorted(glob.glob(pattern, recursive=True))) if p.is_file()]  # noqa: PTH207
    if not found:
        nearest = "" if any(sign in pattern for sign in "*?[") else path_hint(path)
        raise RunError(f"--to_predict {pattern}: no such image or folder; as a glob, it matches no file{nearest}")
    return FoundFiles(found, {})


def _in_hidden_folder(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts[:-1])
