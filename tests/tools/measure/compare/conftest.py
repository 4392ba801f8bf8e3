import io
import json

import pytest

from tools.measure.compare.protocol import MARK


@pytest.fixture
def turns_of(monkeypatch, capsys):
    """Runs a contestant in this process for some turns; returns its facts and the answers of its turns."""

    def run(contestant, *steps, **description):
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{count}\n" for count in steps)))
        contestant(**description)
        lines = capsys.readouterr().out.splitlines()
        facts, *answers = [json.loads(line.removeprefix(MARK)) for line in lines if line.startswith(MARK)]
        return facts, answers

    return run
