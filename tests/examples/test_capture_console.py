"""Pictures of the console: the output until a moment, and the bar at that moment."""

import io

import pytest

from tests.examples.loading import load_example
from tests.utils.console.terminals import recorder
from utils.console.readable import ReadableScreen
from utils.console.terminal import RichTerminal


@pytest.fixture(scope="module")
def script():
    return load_example("capture_console")


@pytest.fixture
def camera(script, tmp_path):
    console = recorder(80, is_terminal=True, record=True)
    console.file = io.StringIO()
    return script.StillCamera(console, "a title", tmp_path / "picture.svg")


def picture(tmp_path):
    return (tmp_path / "picture.svg").read_text(encoding="utf-8").replace("&#160;", " ")


def test_a_picture_is_taken_once_when_its_moment_has_come(camera, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.console.terminal.SECONDS_BETWEEN_DRAWS", 0.0)
    screen = ReadableScreen(RichTerminal(camera._console), camera)
    screen.header([("Network", "resnet18")])
    for start, what in ((0, "train"), (0, "validation"), (50, "train")):
        bar = screen.bar(what, start, 100)
        for step in range(start + 1, start + 51):
            bar.advance(step, 2.5)
            assert (tmp_path / "picture.svg").exists() == (start == 50 and step >= 90)
        bar.close()
    text = picture(tmp_path)
    assert "resnet18" in text
    assert "90/100  loss 2.500" in text


def test_a_picture_loads_nothing_from_elsewhere(camera, tmp_path):
    camera.shoot()
    text = picture(tmp_path)
    assert "a title" in text
    assert "url(" not in text.replace("url(#", "")
    assert "@font-face" not in text
