"""The README of the recipes and scripts: its tables are the tree, its commands parse."""

import re
import shlex
import subprocess

import pytest

from tests.launching import ROOT
from utils.cmdline_helper import parse

FOLDER = ROOT / "se-resnext101-32x4d"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    words
    for block in re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if (words := shlex.split(line))
]


@pytest.mark.parametrize("folder", ["recipes", "../recipes", "training"])
def test_its_tables_name_every_file(folder):
    named = set(re.findall(rf"`{folder}/([^`]+)`", README))
    shared = {"training_perf.sh"} if folder == "training" else set()
    assert named | shared == {path.name for path in (FOLDER / folder).iterdir()}


def test_the_table_of_scripts_says_what_their_recipes_say():
    rows = re.findall(r"^\| (`training/.*) \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \|", README, flags=re.MULTILINE)
    assert len(rows) == 6
    for scripts, processes, batch, global_batch, rate in rows:
        assert int(processes) * int(batch) == int(global_batch)
        assert 0.256 * int(global_batch) / 256 == pytest.approx(float(rate))
        for name in re.findall(r"training/(\S+)`", scripts):
            call = re.search(
                r"^train_imagenet (\d+) (\S+)(.*) --", (FOLDER / "training" / name).read_text(), re.MULTILINE
            )
            words = [f"@{FOLDER}/recipes/{call[2]}.args", *call[3].split(), "--data_dir=/data"]
            assert call[1] == processes
            assert parse(words, {}).config.data.batch_size_per_replica == int(batch)


@pytest.mark.parametrize("words", [w for w in COMMANDS if "main.py" in w], ids=" ".join)
def test_every_main_py_command_is_one_that_main_py_takes(words):
    command = parse(words[words.index("main.py") + 1 :], {})
    assert not [note for note in command.notes if "no effect" in note]


@pytest.mark.parametrize("words", [w for w in COMMANDS if "bash" in w], ids=" ".join)
def test_every_script_exists_and_is_one(words):
    subprocess.run(["bash", "-n", ROOT / words[words.index("bash") + 1]], check=True)
