"""The README's pictures, drawn from synthetic predictions in the quick start's folders."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.examples.loading import load_example


@pytest.fixture(scope="module")
def script():
    return load_example("make_pictures")


def digit(folder, true, number, guess):
    """Writes a grey picture and returns a classifier's entry for it."""
    path = folder / f"digit-{true}-{number:04d}.png"
    Image.new("L", (32, 32), 100 + 10 * number).save(path)
    return {"file": str(path), "predictions": [{"class": 0, "name": guess, "probability": 0.75}]}


def scene(folder, number, color):
    """Writes a picture of one color in place of one with boxes, and returns a detector's entry for it."""
    path = folder / f"scene-{number}.jpg"
    Image.new("RGB", (320, 320), color).save(path)
    return {"file": f"unseen/{number}.jpg", "predictions": [], "picture": str(path)}


@pytest.fixture
def left(tmp_path):
    """The quick start's results that the pictures are drawn from."""
    folder = tmp_path / "left"
    for name in ("predictions", "detections"):
        (folder / name).mkdir(parents=True)
    digits = [digit(folder, true, number, guess) for number, (true, guess) in enumerate([("3", "3"), ("8", "1")])]
    scenes = [scene(folder, number, color) for number, color in enumerate(["red", "lime", "blue", "white", "black"])]
    write(folder / "predictions", reversed(digits))
    write(folder / "detections", scenes)
    return folder


def write(folder, rows):
    (folder / "predictions.json").write_text(json.dumps([*rows]))


def has(pixels, color):
    """Returns whether at least one pixel is close to a color."""
    return bool((np.abs(pixels - color).max(axis=-1) < 40).any())


def test_a_wrong_guess_is_red_and_a_right_one_is_not(script, left):
    rows = sorted(json.loads((left / "predictions" / "predictions.json").read_text()), key=lambda row: row["file"])
    pixels = np.asarray(script.draw_digits(rows), int)
    first, second = (
        pixels[:, n * (script.DIGIT_PX + script.GAP_PX) : (n + 1) * (script.DIGIT_PX + script.GAP_PX)] for n in (0, 1)
    )
    assert not has(first, script.WRONG)
    assert has(first, script.RIGHT)
    assert has(second, script.WRONG)
    top = script.GAP_PX + script.DIGIT_PX // 2
    for pixels, grey in ((first, 100), (second, 110)):
        assert list(pixels[top, script.GAP_PX + 9]) == [grey] * 3


def test_scenes_stand_side_by_side_in_rows(script, left):
    rows = json.loads((left / "detections" / "predictions.json").read_text())
    pixels = np.asarray(script.draw_scenes(rows), int)
    step = script.SCENE_PX + script.GAP_PX
    assert pixels.shape[:2] == (2 * step + script.GAP_PX, 4 * step + script.GAP_PX)
    middles = [(100, 100), (100, 100 + step), (100, 100 + 2 * step), (100, 100 + 3 * step), (100 + step, 100)]
    colors = [(254, 0, 0), (0, 255, 0), (0, 0, 254), (255, 255, 255), (0, 0, 0)]
    for (row, column), color in zip(middles, colors, strict=True):
        assert pixels[row, column] == pytest.approx(color, abs=3)


def test_the_command_writes_both(script, left, tmp_path, capsys):
    assert script.main([str(left), str(tmp_path / "docs")]) == 0
    assert capsys.readouterr().out.strip() == f"{tmp_path}/docs/classification.png, {tmp_path}/docs/detection.jpg"
    for name, width in (("classification.png", 808), ("detection.jpg", 968)):
        with Image.open(tmp_path / "docs" / name) as picture:
            assert picture.width == width


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda left: (left / "detections" / "predictions.json").unlink(), "run `bash examples/quickstart.sh` first"),
        (lambda left: write(left / "detections", []), "there is no picture with detections to draw"),
        (lambda left: write(left / "predictions", []), "there is no prediction to draw"),
        (lambda left: (left / "digit-3-0000.png").rename(left / "x.png"), "No such file or directory"),
    ],
    ids=["no detections", "no scenes", "no digits", "no file"],
)
def test_what_is_missing_is_said_in_a_sentence(script, left, tmp_path, capsys, spoil, sentence):
    spoil(left)
    assert script.main([str(left), str(tmp_path / "docs")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert not (tmp_path / "docs").exists()


def test_a_file_that_tells_no_class_is_refused(script, left):
    row = digit(left, "3", 7, "3")
    (left / "digit-3-0007.png").rename(left / "cat.png")
    with pytest.raises(ValueError, match=r"cat\.png: is not an unseen digit of the quick start"):
        script.draw_digits([{**row, "file": str(left / "cat.png")}])
