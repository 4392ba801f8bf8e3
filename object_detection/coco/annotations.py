"""Reading and checking of annotation files in COCO's format (no TF).

Boxes keep the file's convention, unlike elsewhere: ``[x, y, width, height]`` in pixels of the stored picture.

Source: cocodataset.org/#format-data.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from object_detection.label_map import Category
from utils.errors import RunError
from utils.files.json_values import is_kind, shortened, typed
from utils.suggestions import path_hint

LARGEST_CATEGORY_ID = 2**31 - 1
_INT64 = range(-(2**63), 2**63)

StrPath = str | os.PathLike[str]
Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoImage:
    """A picture: ``file_name`` is its path below the image folder; a side in pixels is None if it is not given."""

    id: int
    file_name: str
    height: int | None = None
    width: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoAnnotation:
    """An object in a picture.

    Attributes:
        id: Its id, unique in the file.
        image_id: The picture that it is in.
        category_id: Its class.
        box_px: ``(x, y, width, height)`` in pixels as in the file; may have no area or cross the picture's edge.
        area_px: Area of the object's outline in square pixels; None if it is not given.
        is_crowd: Whether it stands for many objects.
        segmentation: Polygons or run lengths as in the file, if ``read_coco`` keeps them.
    """

    id: int
    image_id: int
    category_id: int
    box_px: tuple[float, float, float, float]
    area_px: float | None = None
    is_crowd: bool = False
    segmentation: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoFile:
    """The content of an annotation file: pictures and annotations in the file's order, classes by ascending id."""

    path: Path
    sha256: str
    images: tuple[CocoImage, ...]
    categories: tuple[Category, ...]
    annotations: tuple[CocoAnnotation, ...] = field(repr=False)

    def by_image(self) -> dict[int, tuple[CocoAnnotation, ...]]:
        """Groups the annotations by image id; an image without annotations has an empty tuple."""
        found: dict[int, list[CocoAnnotation]] = {image.id: [] for image in self.images}
        for annotation in self.annotations:
            found[annotation.image_id].append(annotation)
        return {image_id: tuple(annotations) for image_id, annotations in found.items()}


def read_coco(
    path: StrPath, *, flag: str | None = None, need_annotations: bool = True, keep_segmentation: bool = False
) -> CocoFile:
    """Reads an annotation file.

    Args:
        path: A JSON file with the keys images, annotations and categories.
        flag: The flag that named the file, for messages ("--val_annotations_file").
        need_annotations: Whether to refuse a file without the key annotations, such as COCO's ``image_info`` files.
        keep_segmentation: Whether to keep outlines, which take most of the memory, and refuse annotations without one.

    Raises:
        RunError: The file cannot be read, is not JSON, or is not in COCO's format; names the file and the entry.
    """
    where = f"{flag} {path}" if flag else str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise RunError(f"{where}: cannot be read ({error.strerror}){path_hint(path)}") from error
    content = _parse(data, where, keep_segmentation)
    try:
        _check_top(content, need_annotations)
        images = _entries(content, "images", image_from)
        categories = _entries(content, "categories", category_from)
        annotations: tuple[CocoAnnotation, ...] = ()
        if need_annotations or "annotations" in content:
            annotations = _entries(content, "annotations", annotation_from, keep_segmentation)
        if not images:
            raise ValueError('"images" is an empty list')
        _check_categories(categories)
        _check_references(images, annotations, categories)
    except ValueError as error:
        raise RunError(f"{where}: is not in COCO's format: {error}") from error
    return CocoFile(
        path=Path(path),
        sha256=hashlib.sha256(data).hexdigest(),
        images=images,
        categories=tuple(sorted(categories, key=lambda category: category.id)),
        annotations=annotations,
    )


def _parse(data: bytes, where: str, keep_segmentation: bool) -> Any:
    """Parses JSON; drops outlines during parsing rather than afterwards, since they are nine tenths of the file."""

    def without_outline(entry: dict[str, Any]) -> dict[str, Any]:
        entry.pop("segmentation", None)
        return entry

    try:
        return json.loads(data, object_hook=None if keep_segmentation else without_outline)
    except (ValueError, RecursionError) as error:  # ValueError includes JSONDecodeError and UnicodeDecodeError
        raise RunError(f"{where}: is not JSON ({error}); must be annotations in COCO's format") from error


def _check_top(content: Any, need_annotations: bool) -> None:
    if isinstance(content, list):
        raise ValueError(
            "it holds a list, as files of detections do; must be an object with images, annotations and categories"
        )
    if not isinstance(content, dict):
        raise ValueError(f"it holds {shortened(content)}; must be an object with images, annotations and categories")
    for key in ("images", "annotations", "categories") if need_annotations else ("images", "categories"):
        if key not in content:
            raise ValueError(f'"{key}" is missing; it has {", ".join(map(repr, content)) or "no key at all"}')


def _entries(content: Mapping[str, Any], key: str, parse: Callable[..., Parsed], *further: Any) -> tuple[Parsed, ...]:
    """Parses every entry of a list and checks that its ids are distinct whole numbers."""
    parsed = []
    seen: set[int] = set()
    for number, entry in enumerate(typed(content, key, list)):
        if not isinstance(entry, dict):
            raise ValueError(f'entry {number} (from 0) of "{key}" is {shortened(entry)}, and must be an object')
        try:
            entry_id = _id(entry, "id")
            if entry_id in seen:
                raise ValueError("an entry before it has the same id")
            seen.add(entry_id)
            parsed.append(parse(entry, *further))
        except ValueError as error:
            name = f"id {entry['id']}" if is_kind(entry.get("id"), int) else f"entry {number} (from 0)"
            raise ValueError(f'{name} of "{key}": {error}') from error
    return tuple(parsed)


def _id(entry: Mapping[str, Any], key: str) -> int:
    value: int = typed(entry, key, int)
    if value not in _INT64:
        raise ValueError(f'"{key}" is {shortened(value)}, and must fit 64 bits')
    return value


def image_from(entry: Mapping[str, Any]) -> CocoImage:
    """Parses the entry of an image, its id already checked; raises ``ValueError`` if it is invalid."""
    name: str = typed(entry, "file_name", str)
    try:
        usable = bool(name) and "\0" not in os.fsdecode(os.fsencode(name))
    except UnicodeError:
        usable = False
    if not usable:
        raise ValueError(f'"file_name" is {shortened(name)}, and must be the name of a file')
    sides = {}
    for side in ("height", "width"):
        sides[side] = typed(entry, side, int, optional=True, least=1)
    return CocoImage(id=entry["id"], file_name=name, **sides)


def category_from(entry: Mapping[str, Any]) -> Category:
    """Parses the entry of a category, its id already checked; raises ``ValueError`` if it is invalid."""
    name: str = typed(entry, "name", str)
    if not name.strip():
        raise ValueError('"name" is blank, and must name the class')
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f'"name" is {shortened(name)}, which is not valid Unicode') from error
    if not 0 <= entry["id"] <= LARGEST_CATEGORY_ID:
        raise ValueError(f"the class {name!r} needs an id from 0 to {LARGEST_CATEGORY_ID}")
    return Category(id=entry["id"], name=name, display_name=name)


def _number(value: Any) -> float:
    """Converts a JSON number to a float; NaN if it is too large."""
    try:
        return float(value)
    except OverflowError:
        return math.nan


def annotation_from(entry: Mapping[str, Any], keep_segmentation: bool) -> CocoAnnotation:
    """Parses the entry of an annotation, its id already checked; raises ``ValueError`` if it is invalid."""
    box = typed(entry, "bbox", list)
    if len(box) != 4 or not all(is_kind(value, float) for value in box):
        raise ValueError(f'"bbox" is {shortened(box)}, and must be four numbers: x, y, width, height')
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise ValueError(f'"iscrowd" is {shortened(crowd)}, and must be 0 or 1')
    area = typed(entry, "area", float, optional=True)
    segmentation = entry.get("segmentation") if keep_segmentation else None
    if keep_segmentation and not (segmentation and isinstance(segmentation, list | dict)):
        raise ValueError(f'"segmentation" is {shortened(segmentation)}, and must be polygons or run lengths for masks')
    x, y, width, height = map(_number, box)
    return CocoAnnotation(
        id=entry["id"],
        image_id=_id(entry, "image_id"),
        category_id=_id(entry, "category_id"),
        box_px=(x, y, width, height),
        area_px=None if area is None else _number(area),
        is_crowd=bool(crowd),
        segmentation=segmentation,
    )


def _check_categories(categories: Iterable[Category]) -> None:
    ids: dict[str, int] = {}
    for category in categories:
        if category.name in ids:
            raise ValueError(
                f'the ids {ids[category.name]} and {category.id} of "categories" have the same name, {category.name!r}'
            )
        ids[category.name] = category.id
    if not ids:
        raise ValueError('"categories" is an empty list')


def _check_references(
    images: Iterable[CocoImage], annotations: Iterable[CocoAnnotation], categories: Iterable[Category]
) -> None:
    image_ids = {image.id for image in images}
    category_ids = {category.id for category in categories}
    for annotation in annotations:
        if annotation.image_id not in image_ids:
            raise ValueError(
                f'annotation {annotation.id} refers to image {annotation.image_id}, which is not in "images"'
            )
        if annotation.category_id not in category_ids:
            raise ValueError(
                f"annotation {annotation.id} refers to category {annotation.category_id}, which is not in "
                f'"categories"; the ids there are {shortened(sorted(category_ids))}'
            )
