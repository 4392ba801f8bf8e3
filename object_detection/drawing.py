"""Drawing of boxes, class names and scores into pictures (no TF)."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from utils.images.lettering import Lettering

_LINE_SHARE = 0.004  # of the picture's shorter side, as is _FONT_SHARE
_FONT_SHARE = 0.03
_SMALLEST_FONT_PX = 10
_HALO_FROM_PX = 64  # smaller pictures have no room for a second line around each line
_LABEL_SHARE = 1 / 3  # of the picture's height: taller labels are left out
_GOLDEN = 0.618033988749895  # steps of this around the color circle keep successive hues far apart
_TONES = ((1.0, 1.0), (0.75, 0.75), (0.5, 1.0))  # saturation and value, in turn

Color = tuple[int, int, int]
Span = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels; the last two lie inside."""


def draw_detections(
    image: Image.Image,
    boxes: np.ndarray,
    names: Sequence[str],
    scores: Sequence[float] | None = None,
    *,
    classes: Sequence[int],
    colors: Sequence[Color] | None = None,
) -> Image.Image:
    """Returns a copy of a picture, in RGB, with its objects framed and named.

    Lines and letters scale with the picture. Earlier boxes are drawn on top. Names that do not fit are shortened;
    characters missing from the font lose their accents or become question marks. A picture too small for letters gets
    only the frames.

    Args:
        image: Any mode and size.
        boxes: ``[D, 4]``, ``[ymin, xmin, ymax, xmax]`` in [0, 1]; parts outside of the picture are cut off.
        names: ``[D]``, the text at each box.
        scores: ``[D]``, written after the names; None writes none.
        classes: ``[D]``, class numbers that select the colors, see ``class_color``.
        colors: ``[D]``, colors to use instead.

    Raises:
        ValueError: The lengths differ, or a box is not finite.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    ends = [""] * len(names) if scores is None else [f" {score:.2f}" for score in scores]
    if not len(boxes) == len(names) == len(ends) == len(classes):
        raise ValueError(f"{len(boxes)} boxes, {len(names)} names, {len(ends)} scores, {len(classes)} classes")
    if not np.isfinite(boxes).all():
        raise ValueError("a box is not finite")
    colors = [class_color(number) for number in classes] if colors is None else colors
    picture = image.convert("RGB")
    pen = _Pen(picture)
    rows = [row for row, box in enumerate(boxes) if box[0] < 1 and box[1] < 1 and box[2] > 0 and box[3] > 0]
    spans = {row: _span(boxes[row], picture.size) for row in rows}
    labels = {row: pen.label(spans[row], names[row], ends[row]) for row in rows}
    for row in reversed(rows):
        pen.frame(spans[row], colors[row])
    for row in reversed(rows):
        pen.write(labels[row], colors[row])
    return picture


def class_color(number: int) -> Color:
    """Returns the color of a class: always the same, and as different from those of other classes as possible."""
    saturation, value = _TONES[number % len(_TONES)]
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


class _Label:
    """A text and its place."""

    def __init__(self, text: str, span: Span) -> None:
        self.text = text
        self.span = span


class _Pen:
    """Draws into a picture, with lines and letters that fit its size."""

    def __init__(self, picture: Image.Image) -> None:
        self._draw = ImageDraw.Draw(picture)
        self._size = picture.size
        side = min(picture.size)
        self._line = max(1, round(_LINE_SHARE * side))
        self._halo = max(1, self._line // 3) if side >= _HALO_FROM_PX else 0
        self._letters = Lettering(max(_SMALLEST_FONT_PX, round(_FONT_SHARE * side)))
        self._margin = self._letters.margin_px
        self._height = self._letters.height_px + 2 * self._margin
        self._taken: list[Span] = []

    def frame(self, span: Span, color: Color) -> None:
        """Draws a box's outline just inside of it, between two thinner contrasting lines."""
        left, top, right, bottom = span
        if self._halo:
            h = self._halo
            around = (left - h, top - h, right + h, bottom + h)
            self._draw.rectangle(around, outline=_contrast(color), width=self._line + 2 * h)
        self._draw.rectangle(span, outline=color, width=self._line)

    def label(self, box: Span, name: str, end: str) -> _Label | None:
        """Fits a label to a box, inside the picture and if possible not over an earlier label."""
        width, height = self._size
        text = self._letters.fitting(self._letters.readable(name), width - 2 * self._margin, end)
        if not text or self._height > height * _LABEL_SHARE:
            return None
        length = round(self._letters.length_px(text)) + 2 * self._margin
        left = max(0, min(box[0], width - length))
        inner = self._line + self._halo
        places = [box[1] - self._height, box[1] + inner, box[3] + 1 + self._halo, box[3] - inner - self._height]
        spans = [(left, top, left + length - 1, top + self._height - 1) for top in places]
        inside = [span for span in spans if span[1] >= 0 and span[3] < height]
        if not inside:
            top = max(0, min(box[1], height - self._height))
            inside = [(left, top, left + length - 1, top + self._height - 1)]
        free = [span for span in inside if not any(_meet(span, other) for other in self._taken)]
        chosen = (free or inside)[0]
        self._taken.append(chosen)
        return _Label(text, chosen)

    def write(self, label: _Label | None, color: Color) -> None:
        """Writes a label on a background of the class's color."""
        if label is None:
            return
        left, top, _, _ = label.span
        self._draw.rectangle(label.span, fill=color)
        place = (left + self._margin, top + self._margin)
        self._draw.text(place, label.text, fill=_contrast(color), font=self._letters.font)


def _span(box: np.ndarray, size: tuple[int, int]) -> Span:
    """Returns the pixels of a box, at least one."""
    width, height = size
    ymin, xmin, ymax, xmax = np.clip(box, 0.0, 1.0).tolist()
    left, top = min(round(xmin * width), width - 1), min(round(ymin * height), height - 1)
    return left, top, max(left, round(xmax * width) - 1), max(top, round(ymax * height) - 1)


def _meet(first: Span, second: Span) -> bool:
    return first[0] <= second[2] and second[0] <= first[2] and first[1] <= second[3] and second[1] <= first[3]


def _contrast(color: Color) -> Color:
    """Returns black or white, whichever is easier to read on a color. Source: ITU-R BT.601, luma."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
