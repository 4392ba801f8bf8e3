"""Copies of images with predictions drawn in, one file each, whatever the names of the originals."""

import itertools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from object_detection.presenter import BoxPresenter
from runtime.prediction.pictures import Pictures
from tests.utils.tiny_images import pattern
from utils.errors import RunError

PRESENTER = BoxPresenter({1: "cat"}, 0.5)
ENTRIES = [{"category_id": 1, "name": "cat", "score": 0.9, "box": [0.25, 0.25, 0.75, 0.75]}]


def images(root, *names):
    """Image files with these names, all PNG whatever the suffix."""
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pattern()).save(path, "PNG")
    return paths


def drawn(folder, paths):
    """The paths of the pictures of all files, relative to the folder."""
    pictures = Pictures(folder, paths)
    places = [Path(pictures.draw(number, ENTRIES, PRESENTER)) for number in range(len(paths))]
    return [place.relative_to(folder).as_posix() for place in places]


def test_a_picture_is_the_image_with_the_box(tmp_path):
    paths = images(tmp_path / "in", "a.png")
    (place,) = drawn(tmp_path / "out", paths)
    with Image.open(tmp_path / "out" / place) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (36, 24), "RGB")
        difference = np.abs(np.asarray(picture, np.float64) - pattern()).max(axis=2)
    assert np.median(difference[6, 10:26]) > 30  # the upper edge
    assert np.median(difference[:, 30:]) < 15


def test_folders_below_the_common_one_are_kept(tmp_path):
    paths = images(tmp_path / "in", "x/a.jpg", "x/y/a.jpg", "b.webp")
    assert drawn(tmp_path / "out", paths) == ["x/a.jpg", "x/y/a.jpg", "b.jpg"]


def test_a_single_file_needs_no_folder(tmp_path):
    assert drawn(tmp_path / "out", images(tmp_path / "in" / "deep", "a.bmp")) == ["a.jpg"]


def test_relative_paths_are_those_of_the_working_folder(tmp_path, monkeypatch):
    images(tmp_path, "in/x/a.jpg", "in/b.jpg")
    monkeypatch.chdir(tmp_path)
    assert drawn(Path("out"), [Path("in/x/a.jpg"), Path("in/b.jpg")]) == ["x/a.jpg", "b.jpg"]
    assert (tmp_path / "out/x/a.jpg").is_file()


def test_names_that_differ_in_their_suffix_alone_keep_it(tmp_path):
    assert drawn(tmp_path / "out", images(tmp_path / "in", "a.jpg", "a.png", "b.png")) == [
        "a.jpg.jpg",
        "a.png.jpg",
        "b.jpg",
    ]


CONFUSING = ("a", "a.jpg", "a.jpg.jpg", "a.jpg.png", "a.png", "a.png.jpg", "a.jpg.jpg.jpg")


@pytest.mark.parametrize("count", [2, 3, 4, len(CONFUSING)])
def test_no_two_files_share_a_picture(tmp_path, count):
    for names in itertools.combinations(CONFUSING, count):
        paths = [tmp_path / name for name in names]
        places = Pictures(tmp_path, paths)._names
        assert len(set(places)) == len(names), (names, places)


def test_the_place_of_a_picture_can_be_written_as_json_whatever_the_name(tmp_path):
    paths = images(tmp_path / "in", os.fsdecode(b"caf\xe9.png"), "schön.png")
    pictures = Pictures(tmp_path / "out", paths)
    places = [pictures.draw(number, ENTRIES, PRESENTER) for number in (0, 1)]
    assert places == [f"{tmp_path}/out/caf\\xe9.jpg", f"{tmp_path}/out/schön.jpg"]
    assert json.dumps(places, ensure_ascii=False).encode()
    assert (tmp_path / "out" / os.fsdecode(b"caf\xe9.jpg")).is_file()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "out").write_text("in the way")
    pictures = Pictures(tmp_path / "out", images(tmp_path / "in", "a.png"))
    with pytest.raises(RunError, match=rf"--results_dir: {tmp_path}/out/a.jpg cannot be written: "):
        pictures.draw(0, ENTRIES, PRESENTER)


def test_no_picture_is_written_outside_of_its_folder(tmp_path, monkeypatch):
    images(tmp_path, "in/b.jpg", "other/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert drawn(Path("out/pictures"), [Path("in/../../") / tmp_path.name / "other/a.jpg", Path("in/b.jpg")]) == [
        "other/a.jpg",
        "in/b.jpg",
    ]


@pytest.mark.parametrize("link", ["pictures", "pictures/x"])
def test_a_folder_of_pictures_that_is_a_link_is_refused(tmp_path, link):
    paths = images(tmp_path / "in", "x/a.jpg", "b.jpg")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / link).parent.mkdir(parents=True)
    (tmp_path / "run" / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=rf"--results_dir: .*x/a\.jpg cannot be written: leads out of {tmp_path}/run"):
        drawn(tmp_path / "run" / "pictures", paths)
    assert [*(tmp_path / "elsewhere").iterdir()] == []
