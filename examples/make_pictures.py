r"""Draws the README's two pictures from the results of the quick start: digits with names, scenes with boxes.

Run after the quick start, from the clone, with its folder and a folder to write to. Detections are predicted again with
a lower score threshold, since a detector is not very confident after a few minutes of training::

    bash examples/quickstart.sh OUT
    .venv/bin/python main.py --mode=predict --model_dir=OUT/detection_run --to_predict=OUT/scenes/unseen \
        --min_score=0.3 --results_dir=OUT/detections
    .venv/bin/python examples/make_pictures.py OUT docs

It writes ``classification.png`` to ``docs``: each unseen digit with the top prediction, wrong ones in red with the
right answer. ``detection.jpg`` shows the unseen scenes as drawn by ``main.py --mode=predict``.
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
_TRUE_CLASS = re.compile(r"digit-(\d)-\d+\.png$")  # make_digits.py's names of unseen digits


def draw_digits(rows: Sequence[dict[str, Any]]) -> Image.Image:
    """Draws a sheet of digits, each above its top prediction and the probability.

    Args:
        rows: Entries of a classifier's ``predictions.json``, in drawing order.

    Raises:
        ValueError: There is no prediction, or a file's name does not contain its class.
    """
    rows = [row for row in rows if "predictions" in row]  # unreadable files have a reason instead
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
    """Draws a sheet of the pictures listed in the detector's ``predictions.json``.

    Raises:
        ValueError: There is no picture.
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
    """Returns the left and top of a picture on its sheet."""
    row, column = divmod(number, columns)
    return GAP_PX + column * (width_px + GAP_PX), GAP_PX + row * (height_px + GAP_PX)


def _true_class(file: str) -> str:
    found = _TRUE_CLASS.search(file)
    if found is None:
        raise ValueError(f"{file}: is not an unseen digit of the quick start; those are named digit-<class>-<number>")
    return found.group(1)


def _predictions(folder: Path) -> list[dict[str, Any]]:
    """Reads the entries of ``predictions.json`` in a folder, in the order of their files."""
    rows = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    return sorted(rows, key=lambda row: str(row["file"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    description = (__doc__ or "").split("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python examples/make_pictures.py", description=description)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="folder that the quick start wrote")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write to; created if missing")
    given = parser.parse_args(arguments)
    try:
        digits = draw_digits(_predictions(given.folder / "predictions"))
        scenes = draw_scenes(_predictions(given.folder / "detections"))
        given.out.mkdir(parents=True, exist_ok=True)
        digits.save(given.out / "classification.png", optimize=True)
        scenes.save(given.out / "detection.jpg", quality=85)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}; run `bash examples/quickstart.sh` first", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{given.out / 'classification.png'}, {given.out / 'detection.jpg'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
