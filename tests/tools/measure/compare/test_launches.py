import sys
import time

import pytest

from tools.measure.compare.launches import FOLDER, first_step, launches

LOG = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
records = [{"type": "LOG", "step": "PARAMETER", "timestamp": "1.0", "data": {}}]
records.append({"type": "LOG", "step": [0, 1], "timestamp": str(time.time() + 50), "data": {}})
(folder / "log.json").write_text("".join(f"DLLL {json.dumps(record)}\\n" for record in records))
"""


def test_each_step_is_a_process_in_a_new_folder(turns_of, tmp_path):
    command = [sys.executable, "-S", "-c", "import os, sys; os.mkdir(sys.argv[1])", FOLDER]
    facts, answers = turns_of(launches, 1, 2, command=command, folder=str(tmp_path), facts={"version": "1"})
    assert facts == {"version": "1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2", "3", "4"], "the first one warms up"
    assert all(0 < answer["seconds"] < 30 for answer in answers)


def test_a_launch_counts_up_to_its_first_step(turns_of, tmp_path):
    command = [sys.executable, "-S", "-c", LOG, FOLDER]
    _, answers = turns_of(launches, 1, 2, command=command, folder=str(tmp_path), facts={}, until_step=True)
    assert 50 < answers[0]["seconds"] < 80
    assert 100 < answers[1]["seconds"] < 160
    assert first_step(tmp_path / "1" / "log.json") > time.time()


def test_a_launch_that_fails_is_told_by_its_last_line(turns_of, tmp_path):
    with pytest.raises(SystemExit, match="no such checkpoint"):
        turns_of(
            launches,
            command=[sys.executable, "-S", "-c", "raise SystemExit('CRITICAL: no such checkpoint')"],
            folder=str(tmp_path),
            facts={},
        )
