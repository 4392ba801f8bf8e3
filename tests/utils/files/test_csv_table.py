import csv
import io
import re

import pytest

from tests.test_import_direction import FILES, module_of
from utils.files.csv_table import csv_table


def read(content):
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-cat.jpg", "@SUM(A1)", "\t=1", '=HYPERLINK("x","y")'])
def test_a_text_that_a_spreadsheet_would_run_is_quoted(text):
    assert read(csv_table([["file", text], [text, 1]])) == [["file", f"'{text}"], [f"'{text}", "1"]]


def test_all_else_is_written_as_it_is():
    row = ["a=b", "a,b", 'say "no"', "two\nlines", "a\r=1", "", "'", "Grün", -1, -0.5, 1e-9, 0]
    assert read(csv_table([row])) == [[str(cell) for cell in row]]
    assert csv_table([["a", -1], ["b", 2.5]]) == b"a,-1\nb,2.5\n"
    assert csv_table([]) == b""


def test_no_text_begins_a_row_of_its_own():
    assert csv_table([["a\r=1+1", "b\n=2"]]) == b'"a\r=1+1","b\n=2"\n'


def test_no_table_is_written_in_another_way():
    """Another writer would write formulas."""
    texts = {module_of(path): path.read_text(encoding="utf-8") for path in FILES}
    writers = {name for name, text in texts.items() if re.search(r"csv\.(writer|DictWriter)|savetxt|to_csv", text)}
    tables = {name for name, text in texts.items() if re.search(r"\.csv\"", text)}
    assert writers == set()
    assert {name for name in tables if "csv_table(" not in texts[name]} == set()
    assert tables
