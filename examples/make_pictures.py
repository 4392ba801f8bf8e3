r"""Draws the pictures at the head of the README from the results of examples/readme_pictures.sh.

::

    .venv/bin/python examples/make_pictures.py OUT SAMPLE_DATA docs

``docs`` gets three pictures. ``photographs.jpg`` shows the first validation photograph of each class above the
classifier's three best guesses. ``micrographs.jpg`` shows micrographs evenly spread over the validation images; frames
mark what the detector found, what it missed, and its false alarms. ``report.png`` is the first screen of a report.
Imports no TensorFlow.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from utils.program import begin

    begin()

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from object_detection.coco.details import operating_score
from object_detection.coco.metrics import score_arrays
from object_detection.coco.tables import Comparison, from_json
from utils.errors import EXIT_DONE, EXIT_FAILED, RunError
from utils.images.lettering import Lettering
from utils.reporting.evaluation_file import examples_of

Color = tuple[int, int, int]

WIDTH_PX = 1760  # twice what a README shows, for screens with two pixels to a point
GAP_PX = 20
GROUND, INK = (255, 255, 255), (31, 41, 51)
RIGHT, WRONG, OTHER = (187, 240, 205), (254, 202, 202), (229, 233, 240)
"""Bars of the photograph's class, of a wrong best guess, and of any other guess."""
EMPTY = (246, 247, 249)
"""The rest of a bar."""
FOUND = ((37, 99, 235), (22, 163, 74), (217, 70, 239), (13, 148, 136), (124, 58, 237))
"""Lines around right detections, by the place of their class among the classes."""
FALSE, MISSED = (220, 38, 38), (234, 88, 12)
KINDS = ("found", "missed", "false alarms")
"""Verdicts on a box."""

LETTERS_PX = 27
PHOTOGRAPH_COLUMNS, GUESSES, TITLE_PX, GUESS_PX = 5, 3, 52, 42
MICROGRAPHS, MICROGRAPH_COLUMNS, CAPTION_PX, LINE_PX = 6, 3, 44, 4
COLORS_OF_A_PAGE = 192
QUALITY = 78


class Judged(NamedTuple):
    """A box with its verdict, one of ``KINDS``."""

    kind: str
    category: int
    box_px: tuple[float, float, float, float]
    """x, y, width, height."""


def first_of_each_class(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Chooses the first file of each class, which is the name of its folder, from a classifier's ``predictions.json``.

    Raises:
        RunError: No file has a prediction.
    """
    readable = sorted((row for row in rows if "predictions" in row), key=lambda row: str(row["file"]))
    chosen: dict[str, Mapping[str, Any]] = {}
    for row in readable:
        chosen.setdefault(_class_of(row), row)
    if not chosen:
        raise RunError("predictions.json: holds no prediction to draw")
    return [chosen[name] for name in sorted(chosen)]


def draw_photographs(rows: Sequence[Mapping[str, Any]]) -> Image.Image:
    """A sheet of photographs, each above its class and the classifier's best guesses with their probabilities."""
    side = (WIDTH_PX - GAP_PX * (PHOTOGRAPH_COLUMNS + 1)) // PHOTOGRAPH_COLUMNS
    sheet, places = _sheet(len(rows), PHOTOGRAPH_COLUMNS, (side, side + TITLE_PX + GUESSES * GUESS_PX))
    pen = ImageDraw.Draw(sheet)
    for row, (left, top) in zip(rows, places, strict=True):
        with Image.open(row["file"]) as photograph:
            upright = ImageOps.exif_transpose(photograph).convert("RGB")
        sheet.paste(ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS), (left, top))
        _draw_guesses(pen, row, (left, top + side), side)
    return sheet


def _draw_guesses(pen: ImageDraw.ImageDraw, row: Mapping[str, Any], place: tuple[int, int], width: int) -> None:
    """The photograph's class, the verdict on the best guess, and a bar as long as each guess is probable."""
    left, top = place
    true, guesses = _class_of(row), row["predictions"][:GUESSES]
    is_right = guesses[0]["name"] == true
    middle = top + TITLE_PX // 2
    _write(pen, (left, middle), true, size_px=34)
    word, color = ("right", (21, 128, 61)) if is_right else ("wrong", (185, 28, 28))
    _write(pen, (left + width, middle), word, color=color, anchor="rm")
    for number, entry in enumerate(guesses):
        upper = top + TITLE_PX + number * GUESS_PX
        lower = upper + GUESS_PX - 5
        color = RIGHT if entry["name"] == true else OTHER if number or is_right else WRONG
        pen.rectangle((left, upper, left + width - 1, lower), fill=EMPTY)
        pen.rectangle((left, upper, left + round((width - 1) * entry["probability"]), lower), fill=color)
        middle = (upper + lower) // 2
        _write(pen, (left + 10, middle), entry["name"])
        _write(pen, (left + width - 10, middle), f"{entry['probability']:.2f}", anchor="rm")


def judge(groundtruth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> dict[int, list[Judged]]:
    """Compares detections with annotations and returns the verdict on each box, by image id.

    Detections count from the score with the highest harmonic mean of precision and recall. They are right if they
    overlap an object by half.

    Args:
        groundtruth: A COCO annotation file, as ``json.load`` reads it.
        detections: A COCO results file, likewise.

    Raises:
        RunError: One of them is not in COCO's format.
    """
    comparison: Comparison = from_json(groundtruth, detections)
    matches = score_arrays(comparison.groundtruth, comparison.results, list(comparison.categories)).matches
    sure = matches.results.scores >= operating_score(matches)
    found = np.zeros(len(matches.groundtruth.crowds), bool)
    found[matches.objects[sure & matches.right]] = True
    judged: dict[int, list[Judged]] = {image: [] for image in comparison.image_ids.tolist()}
    tables = (
        ("missed", matches.groundtruth.take(~found & ~matches.groundtruth.crowds)),
        ("found", matches.results.take(sure & matches.right)),
        ("false alarms", matches.results.take(sure & matches.wrong)),
    )
    for kind, table in tables:
        columns = (table.image_ids.tolist(), table.category_ids.tolist(), table.boxes_px.tolist())
        for image, category, box in zip(*columns, strict=True):
            judged[image].append(Judged(kind, category, tuple(box)))
    return judged


def evenly_spread(images: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Chooses ``count`` images of an annotation file, evenly spread over the sorted file names."""
    ordered = sorted(images, key=lambda image: str(image["file_name"]))
    return [ordered[place] for place in examples_of(len(ordered), count)]


def draw_micrographs(
    images: Sequence[Mapping[str, Any]], folder: Path, judged: Mapping[int, Sequence[Judged]], names: Mapping[int, str]
) -> Image.Image:
    """A sheet of micrographs with their boxes, a count below each, and a legend.

    Args:
        images: Entries of an annotation file, in the order of the sheet.
        folder: Folder of their files.
        judged: Their boxes by image id, from ``judge``.
        names: The classes by category id.
    """
    width = (WIDTH_PX - GAP_PX * (MICROGRAPH_COLUMNS + 1)) // MICROGRAPH_COLUMNS
    height = max(round(width * image["height"] / image["width"]) for image in images)
    sheet, places = _sheet(len(images), MICROGRAPH_COLUMNS, (width, height + CAPTION_PX), below_px=CAPTION_PX)
    pen = ImageDraw.Draw(sheet)
    colors = {category: FOUND[place % len(FOUND)] for place, category in enumerate(sorted(names))}
    for image, (left, top) in zip(images, places, strict=True):
        boxes = judged[image["id"]]
        with Image.open(folder / image["file_name"]) as picture:
            size = (width, round(width * picture.height / picture.width))
            micrograph = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        _draw_boxes(micrograph, boxes, width / image["width"], colors)
        sheet.paste(micrograph, (left, top))
        counts = [f"{word} {sum(box.kind == word for box in boxes)}" for word in KINDS]
        _write(pen, (left, top + height + CAPTION_PX // 2), ", ".join(counts))
    legend = [(f"{names[category]} found", color) for category, color in colors.items()]
    _draw_legend(sheet, [*legend, ("missed", MISSED), ("false alarm", FALSE)])
    return sheet


def _draw_boxes(picture: Image.Image, boxes: Sequence[Judged], scale: float, colors: Mapping[int, Color]) -> None:
    """Frames right detections in the color of their class, false alarms in red, missed objects in dashed orange."""
    pen = ImageDraw.Draw(picture)
    for box in boxes:
        x, y, width, height = (side * scale for side in box.box_px)
        span = (max(0.0, x), max(0.0, y), min(picture.width - 1.0, x + width), min(picture.height - 1.0, y + height))
        if box.kind == "missed":
            _draw_broken(pen, span, MISSED)
        else:
            pen.rectangle(span, outline=colors[box.category] if box.kind == "found" else FALSE, width=LINE_PX)


def _draw_broken(pen: ImageDraw.ImageDraw, span: tuple[float, float, float, float], color: Color) -> None:
    """Draws a dashed rectangle."""
    left, top, right, bottom = span
    dash = 10
    for start in np.arange(left, right, 2 * dash):
        for y in (top, bottom):
            pen.line((start, y, min(right, start + dash), y), fill=color, width=LINE_PX)
    for start in np.arange(top, bottom, 2 * dash):
        for x in (left, right):
            pen.line((x, start, x, min(bottom, start + dash)), fill=color, width=LINE_PX)


def _draw_legend(sheet: Image.Image, entries: Sequence[tuple[str, Color]]) -> None:
    """Squares of color with their meaning, along the lower edge."""
    pen = ImageDraw.Draw(sheet)
    left, middle = GAP_PX, sheet.height - GAP_PX - LETTERS_PX // 2
    for text, color in entries:
        square = (left, middle - LETTERS_PX // 2, left + LETTERS_PX, middle + LETTERS_PX // 2)
        if color == MISSED:
            _draw_broken(pen, square, color)
        else:
            pen.rectangle(square, outline=color, width=LINE_PX)
        end = _write(pen, (left + LETTERS_PX + 12, middle), text)
        left = end + 2 * GAP_PX


def _write(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    *,
    size_px: int = LETTERS_PX,
    color: Color = INK,
    anchor: str = "lm",
) -> int:
    """Writes a line and returns its end, in pixels from the left."""
    letters = Lettering(size_px)
    readable = letters.readable(text)
    pen.text(place, readable, fill=color, font=letters.font, anchor=anchor)
    return place[0] + round(letters.length_px(readable))


def _sheet(
    count: int, columns: int, size: tuple[int, int], below_px: int = 0
) -> tuple[Image.Image, list[tuple[int, int]]]:
    """An empty sheet, and the left and top of ``count`` places of one size on it."""
    rows = -(-count // columns)
    steps = (size[0] + GAP_PX, size[1] + GAP_PX)
    sheet = Image.new("RGB", (WIDTH_PX, GAP_PX + rows * steps[1] + below_px), GROUND)
    places = [divmod(number, columns) for number in range(count)]
    return sheet, [(GAP_PX + column * steps[0], GAP_PX + row * steps[1]) for row, column in places]


def _class_of(row: Mapping[str, Any]) -> str:
    return Path(row["file"]).parent.name


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _photographs(given: argparse.Namespace) -> Image.Image:
    return draw_photographs(first_of_each_class(_read(given.folder / "clothing_predictions" / "predictions.json")))


def _micrographs(given: argparse.Namespace) -> Image.Image:
    cells = given.sample_data / "bccd"
    groundtruth = _read(cells / "annotations" / "instances_val.json")
    judged = judge(groundtruth, _read(given.folder / "cell_evaluation" / "detections.json"))
    names = {category["id"]: category["name"] for category in groundtruth["categories"]}
    chosen = evenly_spread(groundtruth["images"], MICROGRAPHS)
    return draw_micrographs(chosen, cells / "images" / "val", judged, names)


def _report(given: argparse.Namespace) -> Image.Image | None:
    """The browser's picture; None if no browser made one."""
    path = given.folder / "report.png"
    if not path.is_file():
        return None
    with Image.open(path) as screen:
        return screen.convert("RGB").quantize(COLORS_OF_A_PAGE, dither=Image.Dither.NONE)  # a third of the bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    description = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python examples/make_pictures.py", description=description)
    parser.add_argument("folder", metavar="OUT", type=Path, help="output folder of examples/readme_pictures.sh")
    parser.add_argument("sample_data", metavar="SAMPLE_DATA", type=Path, help="folder with bccd/")
    parser.add_argument("docs", metavar="DOCS", type=Path, help="folder for the pictures; created if missing")
    given = parser.parse_args(arguments)
    try:
        pictures = {
            "photographs.jpg": _photographs(given),
            "micrographs.jpg": _micrographs(given),
            "report.png": _report(given),
        }
        given.docs.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            if picture is not None:
                picture.save(given.docs / name, quality=QUALITY, optimize=True)
                print(given.docs / name)
    except (OSError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
