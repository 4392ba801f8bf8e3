"""The page, one HTML file without network access or scripts, and its elements (no TF)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from utils.reporting.names import cell, format_value
from utils.text import one_line

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1f2933; background: #f5f7fa; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 24px; }
h1 { font-size: 24px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 18px; margin: 0 0 12px; overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 18px 0 8px; }
section { background: white; border: 1px solid #e4e7eb; border-radius: 8px; padding: 18px 20px; margin: 16px 0; }
.lead { color: #52606d; margin: 0 0 8px; overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); gap: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); gap: 10px; }
.tile { background: #f0f4ff; border-radius: 6px; padding: 8px 10px; }
.tile b { display: block; font-size: 19px; }
.tile span { color: #52606d; font-size: 12px; overflow-wrap: anywhere; }
img.chart { width: 100%; height: auto; }
.scroll { overflow: auto; max-height: 560px; }
table { border-collapse: collapse; font-size: 13px; }
th { position: sticky; top: 0; background: #f5f7fa; text-align: left; }
th, td { padding: 3px 10px; border-bottom: 1px solid #e4e7eb; overflow-wrap: anywhere; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bar { display: inline-block; width: 90px; height: 9px; background: #e4e7eb; border-radius: 3px; margin-right: 8px; }
.bar i { display: block; height: 100%; background: #2563eb; border-radius: 3px; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 14px; }
.pictures.wide { grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); }
figure { margin: 0; font-size: 12px; overflow-wrap: anywhere; }
figure img, figure svg { width: 100%; height: auto; border-radius: 4px; background: #e4e7eb; display: block; }
.none { height: 110px; background: #e4e7eb; border-radius: 4px; text-align: center; line-height: 110px; }
.note, .finding { border-left: 4px solid #2563eb; padding: 4px 12px; margin: 6px 0; overflow-wrap: anywhere; }
.note { background: #fff8e6; border-color: #d97706; }
details summary { cursor: pointer; }
.wrong { color: #b91c1c; } .right { color: #047857; } .missed { color: #b45309; } .object { color: #1d4ed8; }
"""


def page(title: str, lead: str, parts: Iterable[str]) -> bytes:
    """The HTML file.

    Args:
        title: Title, any text.
        lead: HTML below the title.
        parts: The sections as HTML.
    """
    name = escape(one_line(title))
    body = "\n".join(part for part in parts if part)
    text = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{name}</h1>\n"
        f'<p class="lead">{lead}</p>\n{body}\n</main>\n</body>\n</html>\n'
    )
    return text.encode()


def section(title: str, *parts: str) -> str:
    """A section of the page; empty if it has no content."""
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(one_line(title))}</h2>\n{content}\n</section>" if content else ""


def grid(*parts: str) -> str:
    """Charts side by side if there is room."""
    content = "\n".join(part for part in parts if part)
    return f'<div class="grid">\n{content}\n</div>' if content else ""


def tiles(figures: Mapping[str, Any]) -> str:
    """Tiles, each with a figure and its name."""
    content = "".join(
        f'<div class="tile"><b>{escape(format_value(value))}</b><span>{escape(one_line(name))}</span></div>'
        for name, value in figures.items()
    )
    return f'<div class="tiles">{content}</div>' if content else ""


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table that scrolls if it is long. Numbers are aligned right; ``Markup`` cells are HTML already."""
    body = "\n".join(f"<tr>{''.join(map(_data, row))}</tr>" for row in rows)
    if not body:
        return ""
    head = "".join(f"<th>{escape(one_line(name))}</th>" for name in headers)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


class Markup(str):
    """A text that is HTML."""

    __slots__ = ()


def _data(value: Any) -> str:
    if isinstance(value, Markup):
        return f"<td>{value}</td>"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f'<td class="number">{escape(format_value(value))}</td>'
    return f"<td>{cell(format_value(value))}</td>"


def bar(share: float) -> Markup:
    """A fraction in [0, 1] as a bar with its number."""
    width = 100 * min(1.0, max(0.0, share))
    return Markup(f'<span class="bar"><i style="width:{width:.1f}%"></i></span>{share:.3f}')


def notes(sentences: Iterable[str], kind: str = "finding") -> str:
    """Sentences, one per paragraph, of the kind "finding" or "note"."""
    return "\n".join(f'<p class="{kind}">{escape(one_line(sentence))}</p>' for sentence in sentences)


def folded(title: str, content: str) -> str:
    """Content that is folded until the reader clicks on its title."""
    return f"<details><summary>{escape(title)}</summary>\n{content}\n</details>" if content else ""
