"""The README of the recipes and scripts names every file, and its table agrees with the scripts."""

import re

import pytest

from tests.launching import ROOT
from utils.cmdline_helper import parse

FOLDER = ROOT / "se-resnext101-32x4d"
README = (FOLDER / "README.md").read_text(encoding="utf-8")


def expanded(pattern):
    """The names that a pattern with braces stands for, as a shell would expand it."""
    found = re.search(r"\{([^}]*)\}", pattern)
    if found is None:
        return [pattern]
    start, end = found.span()
    return [name for word in found[1].split(",") for name in expanded(pattern[:start] + word + pattern[end:])]


NAMED = {name.rpartition("/")[2] for code in re.findall(r"`([^`]+\.(?:args|sh))`", README) for name in expanded(code)}


@pytest.mark.parametrize("folder", ["recipes", "../recipes", "training"])
def test_it_names_every_file(folder):
    assert {path.name for path in (FOLDER / folder).iterdir()} - NAMED == set()


def test_the_table_of_scripts_says_what_their_recipes_say():
    rows = re.findall(r"^\| `(DGX.*)` \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \|", README, flags=re.MULTILINE)
    assert len(rows) == 6
    for scripts, processes, batch, global_batch, rate in rows:
        assert int(processes) * int(batch) == int(global_batch)
        assert 0.256 * int(global_batch) / 256 == pytest.approx(float(rate))
        for name in expanded(scripts):
            call = re.search(
                r"^train_imagenet (\d+) (\S+)(.*) --", (FOLDER / "training" / name).read_text(), re.MULTILINE
            )
            words = [f"@{FOLDER}/recipes/{call[2]}.args", *call[3].split(), "--data_dir=/data"]
            assert call[1] == processes
            assert parse(words, {}).config.data.batch_size_per_replica == int(batch)
