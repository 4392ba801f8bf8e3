"""The documents as pages: sizes, links, pictures and tables, and quoted messages that the program prints."""

import ast
import re

import numpy as np
import pytest
from PIL import Image

from runtime.reporting.outputs import OUTPUTS
from tests.conftest import ROOT
from tests.documents import DOCUMENTS, FENCE, HEADING, HOW_TOS, PAGES, README, cells, code_in, git_files, slug, tables
from utils.config import ARCHITECTURES

TRACKED = set(git_files())
FOLDERS = {path.rpartition("/")[0] for path in TRACKED}
PICTURES = [(text, *document.target(link)) for document in DOCUMENTS.values() for text, link in document.pictures]
TASKS = (
    "train on my own images",
    "train on my own boxes",
    "resume a run",
    "train with two processes",
    "fine-tune",
    "export to ONNX",
    "compare two runs",
    "find what is wrong with a data set",
    "explain an AP of 0",
    "benchmark training or inference",
)
REPORTED = "without `--no_report`"
TROUBLE = PAGES["docs/troubleshooting.md"]
WILDCARD = "\0"
"""Stands in a message for a value."""

each_document = pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)


def test_documents_are_short():
    limits = {path: 250 if path == "README.md" else 300 for path in (*PAGES, "README.md")}
    lines = {path: len(DOCUMENTS[path].text.splitlines()) for path in limits}
    assert {path: count for path, count in lines.items() if count > limits[path]} == {}
    how_tos = {title: [line for line in README.section(title).splitlines() if line] for title in HOW_TOS}
    assert {title: len(lines) for title, lines in how_tos.items() if len(lines) > 10} == {}


@each_document
def test_every_link_leads_somewhere(document):
    for link in document.links:
        if link.startswith("https://"):
            continue
        path, anchor = document.target(link)
        assert path in TRACKED | FOLDERS, link
        assert not anchor or anchor in DOCUMENTS[path].anchors, link


def test_every_page_is_one_click_from_the_readme():
    assert {README.target(link)[0] for link in README.links} >= {*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"}


def test_the_first_lines_lead_to_the_table_of_tasks():
    assert "(#find-your-task)" in README.text.split("## Two commands")[0]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_found_in_two_clicks_and_done_with_a_command(task):
    (row,) = (row for row in tables(README.section("Find your task"))[0] if row[0] == task)
    (link,) = re.findall(r"\]\(([^)]*)\)", row[1])
    path, anchor = README.target(link)
    page = DOCUMENTS[path]
    (title,) = (heading for heading in HEADING.findall(page.prose) if slug(heading) == anchor)
    assert "```bash\n" in page.section(title)


@pytest.mark.parametrize(("text", "path", "_"), PICTURES)
def test_a_picture_is_there_small_and_not_blank(text, path, _):
    assert len(text.split()) > 5, "text for readers who cannot see it"
    assert path in TRACKED
    assert (ROOT / path).stat().st_size <= 300_000
    if path.endswith(".svg"):
        assert "<svg" in (ROOT / path).read_text(encoding="utf-8")
        return
    with Image.open(ROOT / path) as picture:
        pixels = np.asarray(picture.convert("RGB"), float)
    assert pixels.shape[1] >= 600
    assert all(part.std() > 10 for part in np.array_split(pixels, 4, axis=1))


def test_every_picture_is_shown():
    assert {path for path in TRACKED if path.startswith("docs/")} - set(PAGES) == {path for _, path, _ in PICTURES}


@each_document
def test_headings_differ_and_tables_are_whole(document):
    assert len(set(document.anchors)) == len(document.anchors)
    found = [line for line in document.prose.splitlines() if line.startswith("|")]
    assert len(found) == sum(len(table) + 1 for table in tables(document.prose)), "each has a head and a line of dashes"
    for table in tables(document.prose):
        assert {len(row) for row in table} == {len(table[0])}, table[0]
    dashes = [line for line in found if set(line) <= set("|- ") and "-" in line]
    assert len(dashes) == len(tables(document.prose))


@each_document
def test_code_and_blocks_end_where_they_begin(document):
    assert len(re.findall(r"^```", document.text, flags=re.MULTILINE)) == 2 * len(FENCE.findall(document.text))
    for paragraph in re.split(r"\n\n|\n(?=\|)|\n(?=- )", document.prose):
        assert paragraph.count("`") % 2 == 0, paragraph


@each_document
def test_a_markdown_parser_sees_the_same_tables_headings_and_links(document):
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    text = re.sub(r"\A---\n.*?\n---\n", "", document.text, flags=re.DOTALL)  # the head of an issue template
    blocks = markdown.parse(text)
    kinds = [block.type for block in blocks]
    assert kinds.count("table_open") == len(tables(document.prose))
    assert kinds.count("tr_open") == sum(len(table) for table in tables(document.prose))
    assert kinds.count("heading_open") == len(document.anchors)
    assert kinds.count("fence") == len(FENCE.findall(text))
    spans = [span for block in blocks for span in block.children or ()]
    assert [span.attrs["src"] for span in spans if span.type == "image"] == [path for _, path in document.pictures]
    assert [span.attrs["href"] for span in spans if span.type == "link_open"] == document.links
    assert not [span for span in spans if span.type == "html_inline"]


def test_every_network_is_in_the_documents():
    text = PAGES["docs/classification.md"].text + PAGES["docs/detection.md"].text
    assert [name for name in ARCHITECTURES if f"`{name}`" not in text and f"--arch={name} " not in text] == []


def test_the_files_of_a_run_are_those_of_the_programs_table():
    (table,) = (found for found in tables(PAGES["docs/flags.md"].text) if found[0][-1] == "written by")
    assert table[1:] == [[f"`{row.name}`", row.what, row.when] for row in OUTPUTS]
    (table,) = (found for found in tables(PAGES["docs/classification.md"].section("Train")) if found[0][0] == "file")
    written = {row.name for row in OUTPUTS if "train_and_evaluate" in row.modes and row.condition in ("", REPORTED)}
    assert {name for row in table[1:] for name in code_in(row[0])} == written


def test_the_issue_template_asks_for_the_command_the_log_and_the_machine():
    template = DOCUMENTS[".github/ISSUE_TEMPLATE/bug_report.md"].text
    assert re.match(r"---\nname: .+\nabout: .+\n", template)
    assert all(word in template for word in ("tools.doctor --json", "log.json", "command"))


def messages():
    """Every text in the program, a wildcard in the place of each value."""
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
ROWS = [row for table in tables(TROUBLE.prose) for row in table[1:]]


def occurs(quote):
    """Tells if a message has these words in this order, with anything in the place of dots."""
    pattern = ".*".join(re.escape(part.strip()) for part in quote.split("..."))
    return any(re.search(pattern, message, flags=re.DOTALL) for message in MESSAGES)


def test_a_quote_is_found_only_where_it_is_said():
    assert occurs("training from step ... to")
    assert not occurs("training after step ... to")
    assert not occurs("Evaluates a checkpoint of SSD320"), "documentation is no message"


def test_every_trouble_has_a_cause_and_a_remedy():
    assert all(all(row) for row in ROWS)
    assert len({seen for seen, _, _ in ROWS}) == len(ROWS)
    assert sum("`" in seen for seen, _, _ in ROWS) >= 20


QUOTES = [quote for seen, _, _ in ROWS for quote in code_in(seen) if not quote.startswith("--")]


@pytest.mark.parametrize("quote", QUOTES)
def test_the_program_says_what_is_quoted(quote):
    assert len(quote) > 10
    assert occurs(quote)


def test_cells_are_split_at_pipes():
    assert cells(r"| a \| b | `c` |") == [r"a \| b", "`c`"]
