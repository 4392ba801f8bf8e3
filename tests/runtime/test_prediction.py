"""Prediction of an image, a folder or a glob: the table, the JSON, the CSV and the exit status."""

import csv
import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from runtime.prediction import list_images
from tests.runtime.runs import CLASSES, network, picture, run
from tests.utils.input_records import noise
from utils.errors import RunError


@pytest.fixture
def images(tmp_path):
    """Five readable images of several kinds in nested folders, one that is cut off, and a text file."""
    folder = tmp_path / "images"
    (folder / "deep" / "deeper").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.PNG", "deep/c.png", "deep/deeper/d.png")):
        (folder / name).write_bytes(picture(number, "validation"))
    Image.fromarray(noise(9)).convert("CMYK").save(folder / "deep" / "e.jpg")
    (folder / "deep" / "cut off.png").write_bytes(picture(4)[:300])
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def predict(trained, tmp_path):
    """Predicts with the trained tiny network; returns the launch and the two files' contents."""

    def do(what, *flags, model=trained):
        results = tmp_path / "predictions"
        launched = run(
            "--mode=predict", f"--to_predict={what}", f"--model_dir={model}", f"--results_dir={results}", *flags
        )
        if launched.status not in (0, 3):
            return launched, None, None
        with (results / "predictions.csv").open(newline="") as file:
            return launched, json.loads((results / "predictions.json").read_text()), list(csv.DictReader(file))

    return do


def names(folder, rows):
    return [row["file"].removeprefix(f"{folder}/") for row in rows]


def test_a_folder_is_searched_recursively_and_an_unreadable_image_is_a_row_with_its_reason(predict, images):
    launched, rows, table = predict(images, "--batch_size=4")
    assert launched.status == 3
    everything = ["a.png", "b.PNG", "deep/c.png", "deep/cut off.png", "deep/deeper/d.png", "deep/e.jpg"]
    assert names(images, rows) == everything
    assert names(images, table) == everything
    bad = [row for row in rows if "error" in row]
    assert names(images, bad) == ["deep/cut off.png"]
    assert "does not decode" in bad[0]["error"]
    assert "predictions" not in bad[0]
    assert "1 of 6 files could not be read" in launched.error
    assert "Traceback" not in launched.error
    assert f"{images}/deep/cut off.png  not read: {bad[0]['error']}" in launched.output.splitlines()


def test_a_folder_without_unreadable_images_ends_with_status_0(predict, images):
    (images / "deep" / "cut off.png").unlink()
    launched, rows, _ = predict(images)
    assert launched.status == 0, launched.error
    assert all("error" not in row for row in rows)


def test_one_image(predict, images):
    launched, rows, _ = predict(images / "a.png")
    assert launched.status == 0, launched.error
    assert names(images, rows) == ["a.png"]


def test_a_glob_matches_files_of_any_depth_and_leaves_folders_out(predict, images):
    launched, rows, _ = predict(f"{images}/**/[a-d].[pP]*")
    assert launched.status == 0, launched.error
    assert sorted(names(images, rows)) == ["a.png", "b.PNG", "deep/c.png", "deep/deeper/d.png"]


def test_a_file_is_tried_whatever_its_name_says(predict, images):
    launched, rows, _ = predict(images / "notes.txt")
    assert launched.status == 3
    assert rows == [{"file": str(images / "notes.txt"), "error": "is not an image of a known kind"}]


def test_ranks_have_names_from_the_checkpoint_and_falling_probabilities_that_sum_to_one(predict, images):
    _, rows, _ = predict(images)
    for row in rows:
        if "error" not in row:
            ranked = row["predictions"]
            assert sorted(entry["class"] for entry in ranked) == [0, 1, 2]
            assert all(entry["name"] == CLASSES[entry["class"]] for entry in ranked)
            probabilities = [entry["probability"] for entry in ranked]
            assert probabilities == sorted(probabilities, reverse=True)
            assert math.isclose(sum(probabilities), 1, abs_tol=1e-5)


def test_the_csv_file_says_what_the_json_file_says(predict, images):
    _, rows, table = predict(images)
    ranks = [f"{kind}_{rank}" for rank in (1, 2, 3) for kind in ("class", "name", "probability")]
    assert list(table[0]) == ["file", "error", *ranks]
    for row, line in zip(rows, table, strict=True):
        cells = [line[column] for column in ranks if line[column]]
        entries = row.get("predictions", [])
        assert cells == [str(entry[key]) for entry in entries for key in ("class", "name", "probability")]
        assert line["error"] == row.get("error", "")


@pytest.mark.parametrize(("asked", "got"), [(1, 1), (2, 2), (50, 3)])
def test_there_are_never_more_ranks_than_classes(predict, images, asked, got):
    launched, rows, _ = predict(images / "a.png", f"--top_k={asked}")
    assert launched.status == 0, launched.error
    assert len(rows[0]["predictions"]) == got
    assert launched.output.splitlines()[-1].count("  ") == got


def test_the_size_of_the_batches_changes_nothing(predict, images):
    rows = [predict(images, f"--batch_size={size}")[1] for size in (1, 3, 32)]
    assert [names(images, one) for one in rows] == [names(images, rows[0])] * 3
    for one in rows[1:]:
        for row, expected in zip(one, rows[0], strict=True):
            assert row.get("error") == expected.get("error")
            for entry, other in zip(row.get("predictions", []), expected.get("predictions", []), strict=True):
                assert entry["class"] == other["class"]
                assert entry["probability"] == pytest.approx(other["probability"], abs=2e-6)


def test_predictions_and_evaluation_agree_on_the_validation_pictures(predict, data_dir, trained, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(10):
        (folder / f"{number}.png").write_bytes(picture(number, "validation"))
    _, rows, _ = predict(folder)
    flags = network(data_dir, tmp_path / "evaluation", "evaluate")
    evaluated = run(*flags, "--batch_size=4", f"--model_dir={trained}")
    right = [row["predictions"][0]["class"] == number % 3 for number, row in enumerate(rows)]
    assert np.mean(right) == pytest.approx(evaluated.summary["top1_accuracy"])
    truths = [
        entry["probability"]
        for number, row in enumerate(rows)
        for entry in row["predictions"]
        if entry["class"] == number % 3
    ]
    assert -np.log(truths).mean() == pytest.approx(evaluated.summary["loss"], abs=1e-4)


def test_names_given_with_a_file_replace_the_checkpoint_s(predict, images, tmp_path):
    (tmp_path / "names.txt").write_text("rond\nligne\ncarré\n", encoding="utf-8")
    launched, rows, table = predict(images / "a.png", f"--class_names={tmp_path / 'names.txt'}")
    assert launched.status == 0, launched.error
    assert {entry["name"] for entry in rows[0]["predictions"]} == {"rond", "ligne", "carré"}
    assert "carré" in {table[0][f"name_{rank}"] for rank in (1, 2, 3)}


def test_classes_without_names_have_their_numbers(predict, images, trained, tmp_path):
    model = shutil.copytree(trained, tmp_path / "nameless")
    path = model / "model.ckpt-5.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"class_names": None, "data_class_names": None}))
    launched, rows, _ = predict(images / "a.png", model=model)
    assert launched.status == 0, launched.error
    assert {entry["name"] for entry in rows[0]["predictions"]} == {"0", "1", "2"}


@pytest.mark.parametrize("what", ["nowhere", "nowhere/*.png", "empty"])
def test_what_names_no_image_is_an_error_that_says_so(tmp_path, what):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("not an image")
    with pytest.raises(RunError, match=f"^--to_predict .*{what.replace('*', '.')}.*no"):
        list_images(str(tmp_path / what))


def test_a_results_folder_that_cannot_be_written_is_named(predict, images, tmp_path):
    (tmp_path / "predictions").write_text("a file")
    launched, _, _ = predict(images / "a.png")
    assert launched.status == 2
    assert f"--results_dir {tmp_path / 'predictions'}: cannot be written to" in launched.error
