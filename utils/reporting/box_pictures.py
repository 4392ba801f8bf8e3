"""Pictures with boxes for a report (no TF)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from utils.reporting.names import short

_COLORS = {"wrong": "#ef4444", "right": "#22c55e", "missed": "#f59e0b", "object": "#3b82f6"}
_KINDS = {"wrong": "false alarm", "right": "found", "missed": "missed", "object": "object"}


def box_pictures(entries: Iterable[Mapping[str, Any]], names: Mapping[int, str]) -> str:
    """Pictures side by side, each with its boxes and the number of each kind.

    Args:
        entries: Those of the evaluation file.
        names: Names of the categories by id.
    """
    figures = "".join(_figure(entry, names) for entry in entries)
    return f'<div class="pictures wide">{figures}</div>' if figures else ""


def legend(kinds: Iterable[str]) -> str:
    """The colors of these kinds of boxes."""
    shown = " · ".join(f'<span class="{kind}">■ {escape(_KINDS[kind])}</span>' for kind in kinds)
    return f"<p>{shown}</p>"


def _figure(entry: Mapping[str, Any], names: Mapping[int, str]) -> str:
    """A picture with its boxes."""
    width, height = max(1, entry["width"]), max(1, entry["height"])
    jpeg = entry.get("jpeg")
    picture = (
        f'<image href="data:image/jpeg;base64,{escape(jpeg)}" width="{width}" height="{height}" '
        'preserveAspectRatio="none"/>'
        if jpeg
        else ""
    )
    boxes = "".join(_box(box, names, (width, height)) for box in entry["boxes"] if box["kind"] in _COLORS)
    counts = {kind: sum(box["kind"] == kind for box in entry["boxes"]) for kind in _KINDS}
    said = ", ".join(f'<span class="{kind}">{count} {kind}</span>' for kind, count in counts.items() if count)
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="image {entry["image_id"]}">'
        f"{picture}{boxes}</svg><figcaption>image {entry['image_id']}: {said}</figcaption></figure>"
    )


def _box(box: Mapping[str, Any], names: Mapping[int, str], size: tuple[int, int]) -> str:
    width, height = size
    ymin, xmin, ymax, xmax = (min(1.0, max(0.0, side)) for side in box["box"])
    kind, line = box["kind"], max(size) / 160
    score = "" if box["score"] is None else f" {box['score']:.2f}"
    label = f"{short(names.get(box['category'], str(box['category'])))}{score}"
    dashes = f' stroke-dasharray="{3 * line:.2f}"' if kind == "missed" else ""
    font = max(size) / 20
    left, right, upper, lower = xmin * width, xmax * width, ymin * height, ymax * height
    top = upper - font / 4 if upper > font else upper + font
    return (
        f'<g class="box"><title>{escape(f"{label}: {_KINDS[kind]}")}</title>'
        f'<rect x="{left:.2f}" y="{upper:.2f}" width="{right - left:.2f}" height="{lower - upper:.2f}" fill="none" '
        f'stroke="{_COLORS[kind]}" stroke-width="{line:.2f}"{dashes}/>'
        f'<text x="{left:.2f}" y="{top:.2f}" font-size="{font:.2f}" fill="{_COLORS[kind]}" stroke="black" '
        f'stroke-width="{font / 12:.2f}" paint-order="stroke">{escape(short(label, 26))}</text></g>'
    )
