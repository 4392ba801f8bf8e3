"""The torture command: its table, its status, and a sample of two minutes."""

import random
import signal

import pytest

from tests.children import Children
from tests.torture import __main__ as command
from tests.torture.damage import damaged, damaged_json, damaged_records
from tests.torture.figures import Figures, table
from utils.records.tfrecord_file import find_bad_record, framed


def slow():
    signal.pause()


def dies():
    signal.raise_signal(signal.SIGSEGV)


def fails():
    raise ValueError("odd")


@pytest.fixture(scope="module")
def children():
    return Children(["tests.torture.loaded"])


def test_a_child_that_hangs_fails_or_dies_is_told_from_one_that_returns(children):
    assert children.run(max, 2, 3, longest=60).value == 3
    assert children.run(slow, longest=0.5).hung
    assert children.run(slow, longest=60, kill_after=0.5).killed
    assert children.run(slow, longest=60, kill_after=0.0).killed
    assert "ValueError: odd" in children.run(fails, longest=60).error
    assert children.run(dies, longest=60).error == "died with -11"


class Hurt:
    """A part that finds a hang in its second attempt."""

    def __init__(self, children, folder, chance):
        assert folder.is_dir()

    def attempt(self, figures, number):
        if number == 1:
            figures.found("hangs", "file 7")


@pytest.mark.parametrize(("minutes", "status"), [("0", 0), ("0.002", 1)])
def test_the_status_says_whether_something_was_found(minutes, status, monkeypatch, capsys):
    monkeypatch.setattr(command, "parts", lambda: {"some": (1, Hurt)})
    assert command.main([f"--minutes={minutes}", "--seed=7"]) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed 7"
    assert ("some: hangs: file 7" in lines) == bool(status)


def test_the_table_counts_each_kind():
    figures = Figures(attempts=1200)
    figures.found("lost steps", "step 3")
    head, row, fault = table({"kills": figures})
    assert row.split() == ["kills", "1,200", "0", "0", "0", "1"]
    assert len(head) == len(row)
    assert fault == "kills: lost steps: step 3"


def test_damage_is_repeated_by_its_seed_and_changes_something():
    for make in (lambda data, chance: damaged(data, chance), damaged_json):
        data = b'{"a": [1, 2, {"b": "text"}], "c": 1.5}'
        made = [make(data, random.Random(seed)) for seed in range(50)]
        assert made == [make(data, random.Random(seed)) for seed in range(50)]
        assert sum(one != data for one in made) > 40


def test_damaged_records_keep_their_checksums(tmp_path):
    path = tmp_path / "records"
    path.write_bytes(b"".join(framed(bytes([number]) * 40) for number in range(3)))
    whole = path.read_bytes()
    path.write_bytes(damaged_records(path, random.Random(1)))
    assert path.read_bytes() != whole
    assert find_bad_record(path) is None


@pytest.mark.slow
def test_two_minutes_of_torture_find_nothing(capsys):
    assert command.main(["--minutes=2", "--seed=1"]) == 0, capsys.readouterr().out
