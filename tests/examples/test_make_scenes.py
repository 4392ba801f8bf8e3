import importlib.util
import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "examples" / "make_scenes.py"
FEW = {"train": 12, "val": 6, "unseen": 3}


def load(patch):
    patch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("make_scenes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, "make_scenes", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_scenes():
    """The script, reduced to a few scenes."""
    pytest.importorskip("sklearn")
    with pytest.MonkeyPatch.context() as patch:
        module = load(patch)
        patch.setattr(module, "SCENES", FEW)
        yield module


@pytest.fixture(scope="module")
def scenes(make_scenes, tmp_path_factory):
    """The folders that the command writes."""
    out = tmp_path_factory.mktemp("scenes") / "out"
    assert make_scenes.main([str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def annotations(scenes):
    return {part: json.loads((scenes / "annotations" / f"{part}.json").read_text()) for part in ("train", "val")}


def test_the_folders_hold_pictures_of_one_size_and_annotations_of_all_but_the_unseen(scenes):
    assert sorted(path.name for path in scenes.iterdir()) == ["annotations", "train", "unseen", "val"]
    assert sorted(path.name for path in (scenes / "annotations").iterdir()) == ["train.json", "val.json"]
    for part, count in FEW.items():
        files = sorted((scenes / part).iterdir())
        assert [path.name for path in files] == [f"{part}-{number:04d}.jpg" for number in range(1, count + 1)]
        for path in files:
            with Image.open(path) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (320, 320))


def test_the_command_makes_enough_of_them(monkeypatch):
    assert load(monkeypatch).SCENES == {"train": 300, "val": 60, "unseen": 8}


@pytest.mark.parametrize("part", ["train", "val"])
def test_ids_are_unique_and_refer_to_what_is_there(annotations, part, scenes):
    data = annotations[part]
    for kind in ("images", "annotations", "categories"):
        ids = [item["id"] for item in data[kind]]
        assert ids == list(range(1, len(ids) + 1))
    assert [image["file_name"] for image in data["images"]] == sorted(p.name for p in (scenes / part).iterdir())
    assert {item["image_id"] for item in data["annotations"]} == {image["id"] for image in data["images"]}
    assert {item["category_id"] for item in data["annotations"]} == {item["id"] for item in data["categories"]}
    assert [item["name"] for item in data["categories"]] == ["zero", "three", "four"]


@pytest.mark.parametrize("part", ["train", "val"])
def test_boxes_lie_inside_and_apart_and_areas_are_theirs(annotations, part):
    for item in annotations[part]["annotations"]:
        x, y, width, height = item["bbox"]
        assert 0 < x < x + width < 320
        assert 0 < y < y + height < 320
        assert 60 <= height <= 128
        assert (item["area"], item["iscrowd"]) == (width * height, 0)
    for first, second in combinations(annotations[part]["annotations"], 2):
        if first["image_id"] == second["image_id"]:
            x, y, width, height = first["bbox"]
            left, top, across, down = second["bbox"]
            assert x + width <= left or left + across <= x or y + height <= top or top + down <= y


@pytest.mark.parametrize("part", ["train", "val"])
def test_boxes_are_tight_around_the_ink_and_all_ink_is_in_a_box(annotations, part, scenes):
    for image in annotations[part]["images"]:
        with Image.open(scenes / part / image["file_name"]) as picture:
            pixels = np.asarray(picture, dtype=np.float64).mean(axis=2)
        ground = np.median(pixels)
        ink = pixels < ground - 60  # the noise ends at 20 or so, ink is darker than 90
        for item in annotations[part]["annotations"]:
            if item["image_id"] == image["id"]:
                x, y, width, height = item["bbox"]
                rows, columns = np.nonzero(ink[y : y + height, x : x + width])
                assert rows.min() <= 3
                assert columns.min() <= 3
                assert height - 1 - rows.max() <= 3
                assert width - 1 - columns.max() <= 3
                ink[y - 2 : y + height + 2, x - 2 : x + width + 2] = False  # JPEG blurs the edge
        assert not ink.any()


def test_categories_are_those_of_the_digits_and_the_parts_share_no_digit(annotations, make_scenes):
    from make_digits import divide
    from sklearn.datasets import load_digits

    labels = [int(label) for label in load_digits().target]
    parts = divide(labels)
    used = {}
    for part, name in (("train", "train"), ("val", "validation")):
        data = annotations[part]
        used[part] = {item["source"] for item in data["annotations"]}
        assert used[part] <= set(parts[name])
        names = {item["id"]: item["name"] for item in data["categories"]}
        for item in data["annotations"]:
            assert make_scenes.CLASSES[labels[item["source"]]] == names[item["category_id"]]
    assert used["train"] & used["val"] == set()


def test_the_unseen_scenes_are_of_digits_of_their_own(make_scenes, scenes, monkeypatch):
    drawn = {}
    compose = make_scenes.compose

    def remember(digits, random):
        drawn[len(drawn)] = set(digits.indices)
        return compose(digits, random)

    monkeypatch.setattr(make_scenes, "compose", remember)
    assert make_scenes.main([str(scenes)]) == 0
    train, val, unseen = drawn[0], drawn[FEW["train"]], drawn[FEW["train"] + FEW["val"]]
    assert not train & unseen
    assert not val & unseen
    assert len(unseen) == 12


def test_a_second_run_writes_the_same_files(make_scenes, scenes, tmp_path):
    assert make_scenes.main([str(tmp_path / "again")]) == 0
    files = [path.relative_to(scenes) for path in scenes.rglob("*") if path.is_file()]
    assert len(files) == sum(FEW.values()) + 2
    for path in files:
        assert (tmp_path / "again" / path).read_bytes() == (scenes / path).read_bytes()


def test_pycocotools_reads_the_annotations(scenes, capsys):
    coco = pytest.importorskip("pycocotools.coco")
    data = coco.COCO(str(scenes / "annotations" / "val.json"))
    perfect = [{**item, "score": 1.0} for item in data.loadAnns(data.getAnnIds())]
    assert len(data.loadRes(perfect).getAnnIds()) == len(perfect)
    capsys.readouterr()


def test_what_cannot_be_written_is_a_sentence(make_scenes, tmp_path, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert make_scenes.main([str(tmp_path / "file")]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'file'}: cannot be written (Not a directory)\n"


def test_without_scikit_learn_it_says_so(make_scenes, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert make_scenes.main([str(tmp_path)]) == 1
    assert "error: needs scikit-learn, which is not installed" in capsys.readouterr().err


def test_runs_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "OUT" in done.stdout
