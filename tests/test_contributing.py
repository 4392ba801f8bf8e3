"""The recipes of docs/changing.md, applied literally to a scratch copy of the program."""

import json
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.launching import ROOT
from tests.runtime.runs import write_data

TEXT = (ROOT / "docs" / "changing.md").read_text(encoding="utf-8")
PLACE = re.compile(r"# (?P<file>\S+), (?:(?P<how>before|after|in place of) `(?P<anchor>[^`]+)`|a new file)\n")
MOST_FILES = {"network": 1, "optimizer": 2, "augmentation": 2, "export format": 2, "flag": 3}
PROGRAM = ("main.py", "model", "object_detection", "runtime", "tools", "utils")
LAUNCHES = """
import sys, main
from tools.export import main as export
train, exported = {launches}
assert main.main(train) == 0
assert export(exported) == 0
import tensorflow as tf
from utils.data_config import DataConfig
from utils.input.augmentation import PHOTOMETRIC_STEPS, pixel_change
from utils.input.augmentation_specs import NegativeSpec
assert NegativeSpec() in DataConfig().augmentation
with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    change = pixel_change((NegativeSpec(probability=1.0),), PHOTOMETRIC_STEPS)
    image = session.run(change(tf.constant([[[0.0, 30.0, 60.0]]]), tf.constant([1, 2])))
assert image.tolist() == [[[255.0, 225.0, 195.0]]]
"""


class Edit(NamedTuple):
    """A block of code and the place where it goes."""

    file: str
    how: str | None
    anchor: str | None
    code: str

    def apply(self, root) -> None:
        path = root / self.file
        if self.how is None:
            assert not path.exists()
            path.write_text(self.code, encoding="utf-8")
            return
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        found = [n for n, line in enumerate(lines) if line.strip() and self.matches("".join(lines[n : n + 2]))]
        assert len(found) == 1, f"{self.anchor} is in {len(found)} places of {self.file}"
        at = found[0] + (self.how == "after")
        lines[at : at + (self.how == "in place of")] = [self.code]
        path.write_text("".join(lines), encoding="utf-8")

    def matches(self, lines: str) -> bool:
        """Returns whether a line begins with the anchor; text after an opening bracket may be on the next line."""
        return re.sub(r"\(\s+", "(", lines.lstrip()).startswith(self.anchor)


def recipes():
    """Returns the edits of each recipe and the number of files in its title, by what the recipe adds."""
    for title, body in re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL):
        name, count = re.fullmatch(r"An? (.+?)(?: of the same family)?: (\d) files?", title).groups()
        edits = []
        for code in re.findall(r"^```python\n(.+?)^```", body, flags=re.MULTILINE | re.DOTALL):
            place = PLACE.match(code)
            assert place, f"{title}: a block does not say where it goes"
            edits.append(Edit(place["file"], place["how"], place["anchor"], code[place.end() :]))
        yield name, int(count), edits


RECIPES = list(recipes())


def test_every_common_change_has_a_recipe_of_few_files():
    assert {name for name, _, _ in RECIPES} == set(MOST_FILES)
    for name, count, edits in RECIPES:
        assert len({edit.file for edit in edits}) == count <= MOST_FILES[name], name


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A scratch copy of the program with all recipes followed."""
    root = tmp_path_factory.mktemp("clone")
    for name in PROGRAM:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    for _, _, edits in RECIPES:
        for edit in edits:
            edit.apply(root)
    return root


@pytest.mark.slow
def test_the_recipes_work(clone, tmp_path):
    data = write_data(tmp_path / "data")
    run, exports = tmp_path / "run", tmp_path / "exports"
    train = [
        *("--mode=train", "--arch=resnet10", "--image_size=32", "--batch_size=4", "--cpu", f"--data_dir={data}"),
        *("--iter_unit=batch", "--num_iter=2", "--display_every=1", f"--results_dir={run}", "--optimizer=adagrad"),
        *("--lr_init=0.001", "--min_learning_rate=0.0625"),
    ]
    export = [f"--model_dir={run}", "--format=compressed", f"--export_dir={exports}", "--cpu"]
    code = LAUNCHES.format(launches=(train, export))
    done = subprocess.run([sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(line.removeprefix("DLLL ")) for line in (run / "log.json").read_text().splitlines()]
    rates = [record["data"]["learning_rate"] for record in records if "learning_rate" in record.get("data", {})]
    assert set(rates) == {0.0625}
    (artefact,) = json.loads((exports / "export_report.json").read_text())["artefacts"]
    assert (artefact["format"], artefact["status"]) == ("compressed", "ok")
