"""The layout of ``--help``, by a description and a sentence of each kind."""

import argparse
from pathlib import Path

from utils.flags.help_format import HelpFormatter

DESCRIPTION = """Does ``this``
and that.

    python an.py --example   kept \\
        as it is

- one item of a list, which is longer than the forty columns
- another
"""
EXPECTED = """\
usage: it

Does this and that.

    python an.py --example   kept \\
        as it is

- one item of a list, which is longer
  than the forty columns
- another

options:
  -h, --help   show this help message
               and exit
  --out PATH   trains
               se-resnext101-32x4d
  --name NAME
"""


def test_paragraphs_and_lists_are_filled_examples_kept_and_names_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "42")
    parser = argparse.ArgumentParser(usage="it", description=DESCRIPTION, formatter_class=HelpFormatter)
    parser.add_argument("--out", type=Path, help="trains ``se-resnext101-32x4d``")
    parser.add_argument("--name")
    assert parser.format_help() == EXPECTED
