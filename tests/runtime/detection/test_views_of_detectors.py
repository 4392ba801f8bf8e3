"""A detector looks at large pictures in tiles and at mirror images, in prediction and in evaluation."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.runs import network, run
from tests.runtime.scenes import picture_of, scene, write_scenes
from utils.errors import UsageError

SIZES = ("--image_size=64", "--batch_size=2", "--seed=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes in ``data``, pictures of 96 pixels and a larger one in ``images``, and a detector in ``run``."""
    folder = tmp_path_factory.mktemp("views")
    write_scenes(folder / "data")
    flags = (*network(folder / "data", folder / "run", "train", "ssd320"), *SIZES)
    finished = run(*flags, "--iter_unit=batch", "--num_iter=1")
    assert finished.status == 0, finished.error
    (folder / "images").mkdir()
    for number in range(2):
        (folder / "images" / f"{number}.png").write_bytes(picture_of(scene(number), number))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (150, 90, 3), np.uint8)).save(folder / "images" / "z.png")
    return folder


def predict(folder, results, *flags):
    given = (f"--model_dir={folder / 'run'}", f"--to_predict={folder / 'images'}", f"--results_dir={results}")
    result = run("--mode=predict", *given, "--min_score=0.001", "--batch_size=2", *flags)
    assert result.status == 0, result.error
    return json.loads((results / "predictions.json").read_text()), result


def test_tiles_that_cover_a_picture_give_what_the_whole_picture_gives(folder, tmp_path):
    whole, _ = predict(folder, tmp_path / "whole")
    tiled, result = predict(folder, tmp_path / "tiled", "--tiles=96", "--tile_overlap=0.25")
    assert [row.pop("tiles") for row in tiled] == [1, 1, 2]
    for one, other in zip(whole, tiled, strict=True):
        assert Path(one.pop("picture")).name == Path(other.pop("picture")).name
    assert tiled[:2] == whole[:2]
    assert whole[0]["predictions"]
    assert (result.parameters["tiles"], result.parameters["tile_overlap"]) == (96, 0.25)


def test_tiles_of_a_larger_picture_are_merged(folder, tmp_path):
    rows, _ = predict(folder, tmp_path, "--tiles=64", "--nms=matrix", "--arch=ssd320", "--max_detections=7")
    assert [row["tiles"] for row in rows] == [4, 4, 6]
    for row in rows:
        assert len(row["predictions"]) == 7
        scores = [entry["score"] for entry in row["predictions"]]
        assert scores == sorted(scores, reverse=True)
    with Image.open(rows[2]["picture"]) as picture:
        assert picture.size == (90, 150)
    boxes = np.array([entry["box"] for row in rows for entry in row["predictions"]])
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[:, 2:] - boxes[:, :2]).max() <= 64 / 90 + 1e-6, "no box leaves its tile"


def test_a_mirror_image_is_predicted_on_too(folder, tmp_path):
    (tmp_path / "images").mkdir()
    with Image.open(folder / "images" / "0.png") as picture:
        picture.save(tmp_path / "images" / "0.png")
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "images" / "1.png")
    flags = ("--test_time_augmentation", f"--to_predict={tmp_path / 'images'}", "--image_size=96")
    rows, result = predict(folder, tmp_path / "results", *flags)
    first, second = ([entry["score"] for entry in row["predictions"]] for row in rows)
    np.testing.assert_allclose(first[:20], second[:20], rtol=1e-2)
    assert result.parameters["test_time_augmentation"] is True


def test_an_evaluation_says_that_it_looked_twice_and_exports_nothing(folder, tmp_path):
    given = (*network(folder / "data", tmp_path, "evaluate"), f"--model_dir={folder / 'run'}", *SIZES)
    given = [flag for flag in given if not flag.startswith("--arch")]
    result = run(*given, "--test_time_augmentation")
    assert result.status == 0, result.error
    assert result.summary["test_time_augmentation"] is True
    assert json.loads((tmp_path / "detections.json").read_text())
    with pytest.raises(UsageError, match="exports look at each image once, which --test_time_augmentation contradicts"):
        run(*given, "--test_time_augmentation", f"--export_dir={tmp_path / 'export'}")
    assert not (tmp_path / "export").exists()
