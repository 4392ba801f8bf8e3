"""The README as a page: its pictures, links and tables, and that the messages it explains are the program's."""

import ast
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.readme_text import FENCE, HOW_TO, PROSE, README, TROUBLE, cells, code_in, section, tables

PICTURES = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", PROSE)
LINKS = re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]*)\)", PROSE)
WILDCARD = "\0"
"""Stands in a message for what is filled in."""


def tracked(path):
    """Whether git knows a file."""
    return subprocess.run(["git", "ls-files", "--error-unmatch", path], cwd=ROOT, capture_output=True).returncode == 0


def slug(heading):
    """The anchor that a heading gets: small letters, no punctuation, hyphens for blanks."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def test_it_begins_with_three_sentences_two_pictures_and_two_commands():
    head = README.split("## Two commands")[0]
    first = head.split("\n\n")[1].replace("\n", " ")
    assert len(re.findall(r"\.(?: [A-Z]|$)", first)) == 3
    assert len(PICTURES) == 2
    assert all(f"]({path})" in head for _, path in PICTURES)


@pytest.mark.parametrize(("text", "path"), PICTURES)
def test_a_picture_is_there_small_and_not_blank(text, path):
    assert len(text.split()) > 5, "what a reader gets who cannot see it"
    assert tracked(path)
    assert (ROOT / path).stat().st_size < 150_000
    with Image.open(ROOT / path) as picture:
        pixels = np.asarray(picture.convert("RGB"), float)
    assert pixels.shape[1] >= 600
    for part in (part for rows in np.array_split(pixels, 2) for part in np.array_split(rows, 4, axis=1)):
        assert part.std() > 10


def test_every_picture_in_the_folder_of_pictures_is_shown():
    assert {f"docs/{path.name}" for path in (ROOT / "docs").iterdir()} == {path for _, path in PICTURES}


def test_every_link_leads_somewhere():
    assert LINKS
    anchors = [slug(heading) for heading in re.findall(r"^#+ (.*)$", PROSE, flags=re.MULTILINE)]
    assert len(set(anchors)) == len(anchors)
    for link in LINKS:
        assert link.startswith("#") or tracked(link), link
        assert not link.startswith("#") or link[1:] in anchors, link


def test_every_table_has_as_many_cells_in_each_row_as_in_its_head():
    found = [line for line in PROSE.splitlines() if line.startswith("|")]
    assert len(found) == sum(len(table) + 1 for table in tables(PROSE)), "each has a head and a line of dashes"
    for table in tables(PROSE):
        assert {len(row) for row in table} == {len(table[0])}, table[0]
    dashes = [line for line in found if set(line) <= set("|- ")]
    assert len(dashes) == len(tables(PROSE))


def test_code_and_blocks_end_where_they_begin():
    assert README.count("```") == 2 * len(FENCE.findall(README))
    for paragraph in re.split(r"\n\n|\n(?=\|)|\n(?=- )", PROSE):
        assert paragraph.count("`") % 2 == 0, paragraph


def test_a_markdown_parser_sees_the_same_tables_headings_and_pictures():
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    blocks = markdown.parse(README)
    kinds = [block.type for block in blocks]
    assert kinds.count("table_open") == len(tables(PROSE))
    assert kinds.count("tr_open") == sum(len(table) for table in tables(PROSE))
    assert kinds.count("heading_open") == len(re.findall(r"^#+ ", PROSE, flags=re.MULTILINE))
    assert kinds.count("fence") == len(FENCE.findall(README))
    spans = [span for block in blocks for span in block.children or ()]
    assert [span.attrs["src"] for span in spans if span.type == "image"] == [path for _, path in PICTURES]
    assert [span.attrs["href"] for span in spans if span.type == "link_open"] == LINKS
    assert not [span for span in spans if span.type == "html_inline"]


@pytest.mark.parametrize("title", HOW_TO)
def test_a_how_to_ends_in_commands(title):
    assert section(title).rstrip().endswith("```")


def test_the_how_tos_come_in_their_order_before_the_troubles():
    places = [README.index(f"\n## {title}\n") for title in ("Two commands", *HOW_TO, TROUBLE)]
    assert places == sorted(places)


def messages():
    """Every text in the program, a wildcard where something is filled in."""
    for package in ("model", "object_detection", "runtime", "tools", "utils"):
        for path in (ROOT / package).rglob("*.py"):
            yield from texts_of(ast.parse(path.read_text(encoding="utf-8")))


def texts_of(tree):
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else WILDCARD for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield re.sub(r"%[.\d]*[sdgrf]", WILDCARD, node.value)


MESSAGES = [*messages()]
ROWS = tables(section(TROUBLE))[0][1:]


def occurs(quote):
    """Whether a message has these words in this order, with anything where the quote has dots."""
    pattern = ".*".join(re.escape(part.strip()) for part in quote.split("..."))
    return any(re.search(pattern, message, flags=re.DOTALL) for message in MESSAGES)


def test_a_quote_is_found_only_where_it_is_said():
    assert occurs("stopped before the weights are saved")
    assert occurs("training from step ... to")
    assert not occurs("stopped after the weights are saved")
    assert not occurs("Evaluates a checkpoint of SSD320"), "documentation is no message"


def test_there_are_troubles_enough_and_each_has_a_cause_and_a_remedy():
    assert len(ROWS) >= 20
    assert all(len(cell) > 5 for seen, why, what in ROWS for cell in (seen, why)), ROWS
    assert all(what for _, _, what in ROWS)
    assert len({seen for seen, _, _ in ROWS}) == len(ROWS)
    assert sum("`" in seen for seen, _, _ in ROWS) >= 20


QUOTES = [quote for seen, _, _ in ROWS for quote in code_in(seen) if not quote.startswith("--")]


@pytest.mark.parametrize("quote", QUOTES)
def test_the_program_says_what_is_quoted(quote):
    assert len(quote) > 10
    assert occurs(quote)


def test_cells_are_split_at_pipes():
    assert cells(r"| a \| b | `c` |") == [r"a \| b", "`c`"]
