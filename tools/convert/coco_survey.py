"""Examines an annotation file together with its images: the rules that the converter and the validator share (no TF).

It settles in which format boxes are written, and whether they were drawn on pictures as stored or turned upright.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from object_detection.coco.annotations import CocoAnnotation, CocoFile, CocoImage
from object_detection.coco.box_evidence import Array, Evidence, are_resized, evidence
from object_detection.coco.box_formats import COCO, FORMATS, BoxFormat
from object_detection.label_map import Category
from object_detection.records.box_rules import BoxCheck, check_box
from tools.convert.box_frame import AUTO, READ_AS_STORED, STORED, UPRIGHT, Frame, picture_of
from utils.files.json_values import shortened
from utils.files.paths_below import fault_below
from utils.images.image_files import ImageHeader, read_header
from utils.text import plural, similar_names

Size = tuple[float, float]

_NAMED = 5
_FEWEST_UNUSED, _MOST_UNUSED = 1000, 10
"""Class slots, and how many times the classes they may be, before the category ids are remarked."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a problem: its description, and the id and the file of the image that it concerns, if any."""

    text: str
    image_id: int | None = None
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem of a whole file.

    Attributes:
        kind: The kind of its findings, see ``tools.validate.findings``.
        noun: The noun to count its cases with; empty for a problem of the file itself.
        what: The rest of the sentence about all cases.
        cases: The cases.
        leaves_out: Whether the validator does not look at the images of its cases.
        refused: Whether records of this file would be useless or dangerous.
        remedy: The end of the converter's message.
    """

    kind: str
    cases: tuple[Case, ...]
    noun: str = ""
    what: str = ""
    leaves_out: bool = False
    refused: bool = False
    remedy: str = ""

    def sentence(self) -> str:
        """All cases as one sentence: their number, the first few, and the remedy."""
        more = len(self.cases) - _NAMED
        listed = [": ".join(filter(None, (case.file, case.text))) for case in self.cases[:_NAMED]]
        listed += [f"and {more:,} more"] * (more > 0)
        counted = f"{plural(len(self.cases), self.noun)} {self.what}: " if self.noun else ""
        return counted + "; ".join([*listed, *filter(None, [self.remedy])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The result for one annotation file.

    Attributes:
        box_format: The format to read its boxes in.
        upright: Ids of the images whose boxes were drawn on the picture that EXIF turns upright.
        headers: Size and orientation of images by id, if they can be read.
        problems: The problems, the refused ones first.
        notes: Sentences on what the file proves.
    """

    box_format: BoxFormat
    upright: frozenset[int]
    headers: Mapping[int, ImageHeader]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def _case_of(image: CocoImage, text: str) -> Case:
    return Case(text, image.id, image.file_name)


def different_classes(
    one: tuple[object, Mapping[int, str]],
    other: tuple[object, Mapping[int, str]],
) -> str:
    """Describes how the classes of two files differ; empty if they are the same. Each is a path with names by id."""
    parts = []
    for (path, names), (lacking, known) in ((one, other), (other, one)):
        only = [f"{number} {name!r}" for number, name in names.items() if known.get(number) != name]
        if only:
            parts.append(f"{path} has {', '.join(only)}, which {lacking} lacks")
    return "; ".join(parts)


def survey(
    file: CocoFile, image_dir: Path, *, box_format: str = AUTO, boxes_are: str = AUTO, needs_boxes: bool = True
) -> Survey:
    """Examines a file.

    Args:
        file: The valid entries of the file.
        image_dir: The folder of its images.
        box_format: The name of the format of its boxes, or "auto" to recognize it.
        boxes_are: Whether boxes were drawn on the "upright" or the "stored" picture, or "auto" to find out.
        needs_boxes: Whether it must have a usable box.
    """
    wrong_files = _wrong_files(file.images, image_dir)
    closed = {case.image_id for case in wrong_files.cases}
    headers = {
        image.id: header
        for image in file.images
        if image.id not in closed and (header := read_header(image_dir / image.file_name)) is not None
    }
    upright, unproven, note = _drawn_upright(file, headers, boxes_are)
    sizes = _sizes(file.images, headers, upright)
    boxes = np.array([one.box_px for one in file.annotations], np.float64).reshape(-1, 4)
    sizes_px = np.array([sizes[one.image_id] for one in file.annotations], np.float64).reshape(-1, 2)
    found = evidence(boxes, sizes_px)
    chosen = found.format if box_format == AUTO else FORMATS[box_format]
    problems = (
        wrong_files,
        _other_format(found, chosen) if box_format == AUTO else None,
        _resized(file, boxes, sizes_px, chosen),
        _without_boxes(file, chosen, sizes) if needs_boxes else None,
        _repeated_files(file.images),
        _similar_names(file.categories),
        _far_ids(file.categories),
        unproven,
    )
    return Survey(
        box_format=chosen,
        upright=upright,
        headers=headers,
        problems=tuple(problem for problem in problems if problem is not None and problem.cases),
        notes=(note,) if note else (),
    )


def _wrong_files(images: Iterable[CocoImage], image_dir: Path) -> Problem:
    return Problem(
        kind="image_entry",
        noun="entry",
        what='of "images" with a file that may not be read',
        cases=tuple(
            _case_of(image, f'the file of id {image.id} of "images" {fault}')
            for image in images
            if (fault := fault_below(image_dir, image.file_name))
        ),
        leaves_out=True,
        refused=True,
    )


def _sizes(images: Iterable[CocoImage], headers: Mapping[int, ImageHeader], upright: frozenset[int]) -> dict[int, Size]:
    """Height and width of the picture that boxes were drawn on, by id; of an unreadable one, what its entry says."""
    sizes: dict[int, Size] = {}
    for image in images:
        if image.id in headers:
            frame = Frame.of(headers[image.id], upright=image.id in upright)
            sizes[image.id] = frame.height_px, frame.width_px
        else:
            sizes[image.id] = image.height or np.nan, image.width or np.nan
    return sizes


def _other_format(found: Evidence, chosen: BoxFormat) -> Problem | None:
    if chosen == COCO:
        return None
    flags = " or ".join(f"--box_format={one.name}" for one in found.equals)
    return Problem(
        kind="box_format",
        cases=(Case(found.sentence()),),
        refused=True,
        remedy=f"{flags} reads them so, --box_format={COCO.name} as COCO's",
    )


def _resized(file: CocoFile, boxes: Array, sizes_px: Array, chosen: BoxFormat) -> Problem:
    stated = {image.id: (image.height or np.nan, image.width or np.nan) for image in file.images}
    stated_px = np.array([stated[one.image_id] for one in file.annotations], np.float64).reshape(-1, 2)
    resized = are_resized(boxes, sizes_px, stated_px, chosen)
    of_image: dict[int, tuple[int, Size]] = {}
    for one, size in zip(np.array(file.annotations, object)[resized], sizes_px[resized].tolist(), strict=True):
        of_image[one.image_id] = of_image.get(one.image_id, (0, size))[0] + 1, (size[0], size[1])
    cases = [
        _case_of(
            image,
            f"has {width:.0f}x{height:.0f} pixels, its entry says {image.width}x{image.height}, and "
            f"{plural(count, 'box')} leave it that would fit the entry's size",
        )
        for image in file.images
        if image.id in of_image
        for count, (height, width) in [of_image[image.id]]
    ]
    return Problem(
        kind="image_resized",
        noun="image",
        what="resized, it seems, without their boxes",
        cases=tuple(cases),
        refused=True,
        remedy="scale the boxes and the entries' sizes, or give the images that were annotated",
    )


def _without_boxes(file: CocoFile, chosen: BoxFormat, sizes: Mapping[int, Size]) -> Problem | None:
    if any(check_annotation(one, chosen, *sizes[one.image_id]).left for one in file.annotations):
        return None
    images, annotations = plural(len(file.images), "image"), plural(len(file.annotations), "annotation")
    case = Case(f"has no usable box, in {images} with {annotations}")
    return Problem(kind="split_without_objects", cases=(case,), refused=True)


def check_annotation(one: CocoAnnotation, chosen: BoxFormat, height_px: float, width_px: float) -> BoxCheck:
    """Checks the box of an annotation against its image; a size of NaN is unknown, and leaves out the edges."""
    known = height_px > 0 and width_px > 0
    left, top, right, bottom = chosen.corners_px(one.box_px, *((height_px, width_px) if known else (1.0, 1.0)))
    return check_box((top, left, bottom, right), *((height_px, width_px) if known else (0.0, 0.0)))


def _repeated_files(images: Iterable[CocoImage]) -> Problem:
    first: dict[str, int] = {}
    cases = []
    for image in images:
        before = first.setdefault(posixpath.normpath(image.file_name), image.id)
        if before != image.id:
            cases.append(_case_of(image, f'the file of id {image.id} of "images" is also that of id {before}'))
    return Problem(
        kind="image_entry",
        noun="entry",
        what='of "images" with the file of an earlier entry, so each has a part of its objects',
        cases=tuple(cases),
        leaves_out=True,
    )


def _similar_names(categories: Iterable[Category]) -> Problem:
    cases = tuple(Case(f"the classes {phrase}") for phrase in similar_names([one.name for one in categories]))
    return Problem(kind="class_names", cases=cases)


def _far_ids(categories: Sequence[Category]) -> Problem:
    slots = categories[-1].id + 1 if categories else 0
    many = slots > max(_FEWEST_UNUSED, _MOST_UNUSED * len(categories))
    cases = [one for one in categories if one.id >= _MOST_UNUSED * len(categories)] if many else []
    return Problem(
        kind="category_far",
        noun="class",
        what=f"with an id far above the number of classes, for which a detector has {slots:,} class slots unless it is "
        "trained with --exact_classes",
        cases=tuple(Case(f"the class {shortened(one.name)} has the id {one.id}") for one in cases),
    )


def _drawn_upright(
    file: CocoFile, headers: Mapping[int, ImageHeader], boxes_are: str
) -> tuple[frozenset[int], Problem, str]:
    """The images whose boxes were drawn on the upright picture, those for which nothing proves it, and a note."""
    turned = [image for image in file.images if image.id in headers and headers[image.id].orientation != 1]
    said = {image.id: (image.height, image.width) for image in turned}
    proofs = {key: proof for key, sides in said.items() if (proof := picture_of(sides, headers[key]))}
    conventions = set(proofs.values())
    decided = boxes_are if boxes_are != AUTO else conventions.pop() if len(conventions) == 1 else ""
    with_boxes = {one.image_id for one in file.annotations}
    unproven = [image for image in turned if image.id not in proofs and image.id in with_boxes]
    upright = frozenset(image.id for image in file.images if (decided or proofs.get(image.id)) == UPRIGHT)
    why = "the sizes of other entries prove both" if proofs else "no entry's size proves either"
    cases = [
        _case_of(image, f"its EXIF orientation is {headers[image.id].orientation}, and {why}")
        for image in ([] if decided else unproven)
    ]
    problem = Problem(
        kind="boxes_turned",
        noun="image",
        what=READ_AS_STORED,
        cases=tuple(cases),
        remedy=f"--boxes_are={STORED} or --boxes_are={UPRIGHT} says so",
    )
    if boxes_are != AUTO or not decided or not unproven:
        return upright, problem, ""
    read = f"boxes of {plural(len(unproven), 'image')} turned by EXIF are read as drawn on the {decided} picture"
    return upright, problem, f"{file.path}: {read}, as the sizes of {plural(len(proofs), 'entry')} prove"
