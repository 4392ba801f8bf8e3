"""Reading and checking of annotation files in COCO's format (no TF).

Boxes keep the file's convention, unlike elsewhere: ``[x, y, width, height]`` in pixels of the stored picture.

Source: cocodataset.org/#format-data.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from object_detection.label_map import BACKGROUND, Category
from utils.errors import RunError
from utils.files.file_kind import why_no_json
from utils.files.json_values import is_kind, shortened, typed
from utils.files.paths_below import is_path_below
from utils.files.regular_file import open_regular
from utils.suggestions import path_hint
from utils.text import plural

LARGEST_CATEGORY_ID = 99_999
"""SSD320's classifier then holds 5 GB of weights."""
_LARGEST_SIDE = 2**31 - 1
_INT64 = range(-(2**63), 2**63)
_KEYS_SHOWN = 20
_NUMBERS = {int, float}  # of JSON; bool is another type

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

    @property
    def names(self) -> dict[int, str]:
        """The name of each class by its id."""
        return {category.id: category.name for category in self.categories}

    def by_image(self) -> dict[int, tuple[CocoAnnotation, ...]]:
        """Groups the annotations by image id; an image without annotations has an empty tuple."""
        found: dict[int, list[CocoAnnotation]] = {image.id: [] for image in self.images}
        for annotation in self.annotations:
            found[annotation.image_id].append(annotation)
        return {image_id: tuple(annotations) for image_id, annotations in found.items()}


@dataclass(frozen=True, slots=True)
class EntryFault:
    """The fault of an entry: ``kind`` is "image_entry", "category", "annotation" or "box_category"."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoEntries:
    """The valid entries of an annotation file, the faults of the others, and all of it as parsed from JSON.

    Entries that only refer to an invalid entry are left out without a fault of their own.
    """

    file: CocoFile
    faults: tuple[EntryFault, ...]
    content: Mapping[str, Any] = field(repr=False)


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
    read = read_entries(
        path, flag=flag, need_annotations=need_annotations, keep_segmentation=keep_segmentation, keep_content=False
    )
    if read.faults:
        more = len(read.faults) - 1
        ending = f" (and {plural(more, 'more fault')}, which tools.validate lists)" if more else ""
        raise RunError(f"{_where(path, flag)}: is not in COCO's format: {read.faults[0].text}{ending}")
    return read.file


def read_entries(
    path: StrPath,
    *,
    flag: str | None = None,
    need_annotations: bool = True,
    keep_segmentation: bool = False,
    keep_content: bool = True,
) -> CocoEntries:
    """Reads the valid entries of an annotation file, and the faults of the others.

    Args:
        path: As in ``read_coco``, like the other arguments.
        flag: See there.
        need_annotations: See there.
        keep_segmentation: See there.
        keep_content: Whether to keep the whole content, outlines included.

    Raises:
        RunError: The file cannot be read, is not JSON, or lacks one of the three lists.
    """
    where = _where(path, flag)
    try:
        with open_regular(path) as opened:
            data = opened.read()
    except OSError as error:
        raise RunError(f"{where}: cannot be read ({error.strerror}){path_hint(path)}") from error
    content = _parse(data, where, keep_outlines=keep_segmentation or keep_content)
    try:
        lists = _lists(content, need_annotations)
    except ValueError as error:
        raise RunError(f"{where}: is not in COCO's format: {error}") from error
    reader = _Reader(lists)
    images = reader.entries("images", "image_entry", image_from)
    categories = reader.entries("categories", "category", category_from)
    annotations = reader.entries("annotations", "annotation", lambda entry: annotation_from(entry, keep_segmentation))
    if not lists["images"]:
        reader.faults.append(EntryFault("image_entry", '"images" is an empty list'))
    categories = reader.with_own_names(categories)
    file = CocoFile(
        path=Path(path),
        sha256=hashlib.sha256(data).hexdigest(),
        images=tuple(images.values()),
        categories=tuple(sorted(categories.values(), key=lambda category: category.id)),
        annotations=tuple(reader.with_references(annotations.values(), images, categories)),
    )
    return CocoEntries(file=file, faults=tuple(reader.faults), content=content if keep_content else {})


def _where(path: StrPath, flag: str | None) -> str:
    return f"{flag} {path}" if flag else str(path)


def _parse(data: bytes, where: str, *, keep_outlines: bool) -> Any:
    """Parses JSON; drops outlines during parsing rather than afterwards, since they are nine tenths of the file."""

    def without_outline(entry: dict[str, Any]) -> dict[str, Any]:
        entry.pop("segmentation", None)
        return entry

    try:
        return json.loads(data, object_hook=None if keep_outlines else without_outline)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where}: {why_no_json(data, error)}; must be annotations in COCO's format") from error


def _lists(content: Any, need_annotations: bool) -> dict[str, list[Any]]:
    """The three lists of a file; raises ``ValueError`` if one is missing or of another type."""
    if isinstance(content, list):
        raise ValueError(
            "it holds a list, as files of detections do; must be an object with images, annotations and categories"
        )
    if not isinstance(content, dict):
        raise ValueError(f"it holds {shortened(content)}; must be an object with images, annotations and categories")
    needed = ("images", "annotations", "categories") if need_annotations else ("images", "categories")
    for key in needed:
        if key not in content:
            raise ValueError(f'"{key}" is missing; it has {_keys(content)}')
    lists: dict[str, list[Any]] = {key: typed(content, key, list) for key in content.keys() & {*needed, "annotations"}}
    if not lists["categories"]:
        raise ValueError('"categories" is an empty list')
    return {"annotations": [], **lists}


def _keys(content: Mapping[str, Any]) -> str:
    shown = ", ".join(map(shortened, itertools.islice(content, _KEYS_SHOWN)))
    return (shown + (", ..." if len(content) > _KEYS_SHOWN else "")) or "no key at all"


class _Reader:
    """Parses the entries of the three lists, and collects the faults."""

    def __init__(self, lists: Mapping[str, list[Any]]) -> None:
        self._lists = lists
        self.faults: list[EntryFault] = []

    def entries(self, key: str, kind: str, parse: Callable[[dict[str, Any]], Parsed]) -> dict[int, Parsed]:
        """The valid entries of a list by their ids; the ids must be distinct whole numbers."""
        found: dict[int, Parsed] = {}
        for number, entry in enumerate(self._lists[key]):
            try:
                if not isinstance(entry, dict):
                    raise ValueError(f"is {shortened(entry)}, and must be an object")
                entry_id = _id(entry, "id")
                if entry_id in found:
                    raise ValueError("an entry before it has the same id")
                found[entry_id] = parse(entry)
            except ValueError as error:
                self.faults.append(EntryFault(kind, f"{_name_of(entry, number, key)} {error}"))
        return found

    def with_own_names(self, categories: dict[int, Category]) -> dict[int, Category]:
        """The categories whose name none before them has; notes a fault if no class of objects is among them."""
        ids: dict[str, int] = {}
        for category in categories.values():
            first = ids.setdefault(category.name, category.id)
            if first != category.id:
                text = f'the ids {first} and {category.id} of "categories" have the same name, {category.name!r}'
                self.faults.append(EntryFault("category", text))
        if categories and all(category.is_background for category in categories.values()):
            self.faults.append(EntryFault("category", f"its only category is {BACKGROUND!r}"))
        return {number: categories[number] for number in ids.values()}

    def with_references(
        self,
        annotations: Iterable[CocoAnnotation],
        images: Mapping[int, CocoImage],
        categories: Mapping[int, Category],
    ) -> Iterator[CocoAnnotation]:
        """Yields the annotations whose image and category are valid entries."""
        listed = {key: _listed_ids(self._lists[key]) for key in ("images", "categories")}
        background = {category.id for category in categories.values() if category.is_background}
        for one in annotations:
            if one.category_id in background:
                text = (
                    f"annotation {one.id} has category {one.category_id}, {BACKGROUND!r}, which is not an object "
                    "class; rename the category if it is one"
                )
                self.faults.append(EntryFault("box_category", text))
            elif one.image_id in images and one.category_id in categories:
                yield one
            elif one.image_id not in listed["images"]:
                text = f'annotation {one.id} refers to image {one.image_id}, which is not in "images"'
                self.faults.append(EntryFault("annotation", text))
            elif one.category_id not in listed["categories"]:
                text = (
                    f"annotation {one.id} refers to category {one.category_id}, which is not in "
                    f'"categories"; the ids there are {shortened(sorted(categories))}'
                )
                self.faults.append(EntryFault("box_category", text))


def _listed_ids(entries: Iterable[Any]) -> set[Any]:
    """The ids of all entries, invalid ones included."""
    ids = (entry.get("id") for entry in entries if isinstance(entry, dict))
    return {one for one in ids if isinstance(one, int | float | str)}


def _name_of(entry: Any, number: int, key: str) -> str:
    if not isinstance(entry, dict):
        return f'entry {number} (from 0) of "{key}"'
    is_named = is_kind(entry.get("id"), int)
    return (f"id {shortened(entry['id'])}" if is_named else f"entry {number} (from 0)") + f' of "{key}":'


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
    if not is_path_below(name):
        raise ValueError(f'"file_name" is {shortened(name)}, and must be a path below the folder of the images')
    height, width = (
        typed(entry, side, int, optional=True, least=1, most=_LARGEST_SIDE) for side in ("height", "width")
    )
    return CocoImage(id=entry["id"], file_name=name, height=height, width=width)


def category_from(entry: Mapping[str, Any]) -> Category:
    """Parses the entry of a category, its id already checked; raises ``ValueError`` if it is invalid."""
    name: str = typed(entry, "name", str)
    if not name.strip():
        raise ValueError('"name" is blank, and must name the class')
    if not 0 <= entry["id"] <= LARGEST_CATEGORY_ID:
        raise ValueError(
            f"the class {shortened(name)} needs an id from 0 to {LARGEST_CATEGORY_ID}: a detector has a class slot for "
            "every id up to the largest"
        )
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
    if len(box) != 4 or not {*map(type, box)} <= _NUMBERS:
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
