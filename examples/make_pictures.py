r"""Draws the README's two pictures from what the quick start left behind: digits with their names, scenes with boxes.

Run after the quick start, from the clone, with its folder and one to write to; the detections are predicted once more,
from a lower score on, since a detector that has trained for minutes is sure of little::

    bash examples/quickstart.sh OUT
    .venv/bin/python main.py --mode=predict --model_dir=OUT/detection_run --to_predict=OUT/scenes/unseen \
        --min_score=0.3 --results_dir=OUT/detections
    .venv/bin/python examples/make_pictures.py OUT docs

``docs`` gets ``classification.png``, each unseen digit with its best guess and, in red and with the right answer, those
that are wrong; and ``detection.jpg``, the unseen scenes as ``main.py --mode=predict`` drew them.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

COLUMNS = 10  # of digits
DIGIT_PX, CAPTION_PX, GAP_PX = 72, 18, 8
SCENE_COLUMNS, SCENE_PX = 4, 232
RIGHT, WRONG, GROUND = (40, 40, 40), (200, 20, 20), (255, 255, 255)
_TRUE_CLASS = re.compile(r"digit-(\d)-\d+\.png$")  # as make_digits.py names what is unseen


def draw_digits(rows: Sequence[dict[str, Any]]) -> Image.Image:
    """A sheet of digits, each above its best guess and the probability of that.

    Args:
        rows: Entries of a classifier's ``predictions.json``, ordered as they are drawn.

    Raises:
        ValueError: There is none, or a file's name does not tell its class.
    """
    rows = [row for row in rows if "predictions" in row]  # what cannot be read has a reason in its place
    if not rows:
        raise ValueError("there is no prediction to draw")
    height = DIGIT_PX + CAPTION_PX
    sheet = _sheet(len(rows), COLUMNS, DIGIT_PX, height)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, row in enumerate(rows):
        left, top = _place(number, COLUMNS, DIGIT_PX, height)
        with Image.open(row["file"]) as digit:
            sheet.paste(digit.convert("RGB").resize((DIGIT_PX, DIGIT_PX), Image.Resampling.BICUBIC), (left, top))
        best, true = row["predictions"][0], _true_class(row["file"])
        color = RIGHT if best["name"] == true else WRONG
        known = "" if best["name"] == true else f" ({true})"
        middle = (left + DIGIT_PX // 2, top + DIGIT_PX + CAPTION_PX // 2)
        pen.text(middle, f"{best['name']}{known} {best['probability']:.2f}", fill=color, font=font, anchor="mm")
    return sheet


def draw_scenes(rows: Sequence[dict[str, Any]]) -> Image.Image:
    """A sheet of the pictures that the detector's ``predictions.json`` names.

    Raises:
        ValueError: There is none.
    """
    pictures = [row["picture"] for row in rows if "picture" in row]
    if not pictures:
        raise ValueError("there is no picture with detections to draw")
    sheet = _sheet(len(pictures), SCENE_COLUMNS, SCENE_PX, SCENE_PX)
    for number, path in enumerate(pictures):
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((SCENE_PX, SCENE_PX), Image.Resampling.LANCZOS)
        sheet.paste(small, _place(number, SCENE_COLUMNS, SCENE_PX, SCENE_PX))
    return sheet


def _sheet(count: int, columns: int, width_px: int, height_px: int) -> Image.Image:
    rows = -(-count // columns)
    size = (GAP_PX + columns * (width_px + GAP_PX), GAP_PX + rows * (height_px + GAP_PX))
    return Image.new("RGB", size, GROUND)


def _place(number: int, columns: int, width_px: int, height_px: int) -> tuple[int, int]:
    """Left and top of a picture on its sheet."""
    row, column = divmod(number, columns)
    return GAP_PX + column * (width_px + GAP_PX), GAP_PX + row * (height_px + GAP_PX)


def _true_class(file: str) -> str:
    found = _TRUE_CLASS.search(file)
    if found is None:
        raise ValueError(f"{file}: is none of the quick start's unseen digits, which are called digit-<class>-<number>")
    return found.group(1)


def _predictions(folder: Path) -> list[dict[str, Any]]:
    """The entries of ``predictions.json`` in a folder, in the order of their files."""
    rows = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    return sorted(rows, key=lambda row: str(row["file"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    description = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python examples/make_pictures.py", description=description)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="what the quick start wrote")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write to; made if it is missing")
    given = parser.parse_args(arguments)
    try:
        digits = draw_digits(_predictions(given.folder / "predictions"))
        scenes = draw_scenes(_predictions(given.folder / "detections"))
        given.out.mkdir(parents=True, exist_ok=True)
        digits.save(given.out / "classification.png", optimize=True)
        scenes.save(given.out / "detection.jpg", quality=85)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; `bash examples/quickstart.sh` comes first", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{given.out / 'classification.png'}, {given.out / 'detection.jpg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
