"""Prediction of an image, a folder or a glob: every file becomes a row."""

import csv
import json
import os
import re
import signal
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image, features

from runtime.prediction.images_to_predict import find_images
from tests.runtime.runs import CLASSES, network, picture, run, send
from tests.utils.input_records import noise
from utils.errors import RunError
from utils.hooks.progress import ProgressHook
from utils.images.image_files import IMAGE_SUFFIXES, load_rgb

UNREADABLE = {"b/broken.png": b"\x89PNG\r\n\x1a\n no image", "empty.jpg": b"", "notes/words.jpeg": b"words"}


def predict(trained, target, results, *more):
    flags = ("--mode=predict", f"--model_dir={trained}", f"--to_predict={target}", f"--results_dir={results}")
    return run(*flags, *more)


def rows(results):
    return json.loads((results / "predictions.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten validation images in nested folders, with other files and three unreadable images."""
    root = tmp_path_factory.mktemp("prediction") / "images"
    for number in range(10):
        path = root / ("a" if number < 6 else "b") / f"{number:02}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number, "validation"))
    for name, content in UNREADABLE.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    (root / "readme.txt").write_text("not an image, by its name")
    return root


@pytest.fixture(scope="module")
def predicted(trained, folder, tmp_path_factory):
    """The launch for the whole folder and its output files."""
    results = tmp_path_factory.mktemp("prediction") / "results"
    return predict(trained, folder, results, "--top_k=2", "--batch_size=4"), results


def test_every_image_of_a_folder_is_a_row_and_the_status_tells_of_those_that_were_not_read(predicted, folder):
    result, results = predicted
    assert result.status == 3
    assert "3 of 13 files could not be read; they are listed with their reasons" in result.error
    assert f"--to_predict {folder}: skipped 1 file without the name of an image: 1 .txt" in result.error
    files = [Path(row["file"]).relative_to(folder).as_posix() for row in rows(results)]
    assert files == sorted([*(f"{'a' if n < 6 else 'b'}/{n:02}.PNG" for n in range(10)), *UNREADABLE])
    failed = {Path(row["file"]).relative_to(folder).as_posix(): row["error"] for row in rows(results) if "error" in row}
    assert set(failed) == set(UNREADABLE)
    assert all(failed.values())
    assert not any("predictions" in row for row in rows(results) if "error" in row)


def test_a_row_ranks_classes_by_name_and_probability(predicted):
    for row in rows(predicted[1]):
        entries = row.get("predictions", [])
        assert len(entries) == (0 if "error" in row else 2)
        for entry in entries:
            assert entry["name"] == CLASSES[entry["class"]]
            assert 0 <= entry["probability"] <= 1
        assert sorted(entries, key=lambda entry: -entry["probability"]) == entries


def test_predictions_are_those_that_the_evaluation_counts(predicted, trained, data_dir, tmp_path):
    evaluated = run(*network(data_dir, tmp_path, "evaluate"), f"--model_dir={trained}", "--batch_size=5")
    right = [
        row["predictions"][0]["class"] == int(Path(row["file"]).stem) % 3
        for row in rows(predicted[1])
        if "predictions" in row
    ]
    assert len(right) == 10
    assert np.mean(right) == evaluated.summary["top1_accuracy"]


@pytest.mark.slow
def test_probabilities_are_those_that_the_loss_is_made_of(trained, folder, data_dir, tmp_path):
    evaluated = run(*network(data_dir, tmp_path / "evaluation", "evaluate"), f"--model_dir={trained}", "--batch_size=5")
    predict(trained, folder / "*" / "*.PNG", tmp_path)
    truths = [
        entry["probability"]
        for row in rows(tmp_path)
        for entry in row["predictions"]
        if entry["class"] == int(Path(row["file"]).stem) % 3
    ]
    assert len(truths) == 10
    assert -np.log(truths).mean() == pytest.approx(evaluated.summary["loss"], abs=1e-4)


def test_the_table_in_csv_holds_the_same(predicted):
    with (predicted[1] / "predictions.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    columns = ["file", "error", *(f"{kind}_{rank}" for rank in (1, 2) for kind in ("class", "name", "probability"))]
    assert list(table[0]) == columns
    for line, row in zip(table, rows(predicted[1]), strict=True):
        assert line["file"] == row["file"]
        assert line["error"] == row.get("error", "")
        for rank, entry in enumerate(row.get("predictions", []), start=1):
            assert (line[f"class_{rank}"], line[f"name_{rank}"]) == (str(entry["class"]), entry["name"])
            assert float(line[f"probability_{rank}"]) == entry["probability"]


def test_the_console_shows_one_line_a_file(predicted, folder):
    lines = [line for line in predicted[0].output.splitlines() if line.startswith(str(folder))]
    assert len(lines) == 13
    ranked = re.compile(r"\.PNG(  (circle|line|square) [01]\.\d{4}){2}$")
    assert sum(bool(ranked.search(line)) for line in lines) == 10
    assert sum("  not read: " in line for line in lines) == 3


def test_one_image_is_enough_and_needs_no_batch_size(trained, folder, tmp_path):
    result = predict(trained, folder / "a" / "03.PNG", tmp_path)
    assert result.status == 0, result.error
    (row,) = rows(tmp_path)
    assert row["file"] == str(folder / "a" / "03.PNG")
    assert len(row["predictions"]) == 3  # top_k is 5, and there are three classes
    assert sum(entry["probability"] for entry in row["predictions"]) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("asked", "got"), [(1, 1), (50, 3)])
def test_there_are_never_more_ranks_than_classes(trained, folder, tmp_path, asked, got):
    assert predict(trained, folder / "a" / "03.PNG", tmp_path, f"--top_k={asked}").status == 0
    assert len(rows(tmp_path)[0]["predictions"]) == got


@pytest.mark.slow
def test_an_image_of_another_kind_is_read_and_a_file_is_tried_whatever_its_name_says(trained, tmp_path):
    Image.fromarray(noise(9)).convert("CMYK").save(tmp_path / "print.jpg")
    (tmp_path / "notes.txt").write_text("not an image")
    result = predict(trained, tmp_path / "[np]*", tmp_path / "results")
    assert result.status == 3
    notes, image = rows(tmp_path / "results")
    assert notes == {"file": str(tmp_path / "notes.txt"), "error": "is not an image of a known kind"}
    assert len(image["predictions"]) == 3


@pytest.mark.slow
def test_a_name_that_is_not_utf_8_is_written_with_escapes(trained, tmp_path):
    Image.fromarray(noise(9)).save(tmp_path / os.fsdecode(b"caf\xe9.png"))
    Image.fromarray(noise(9)).save(tmp_path / "schön.png")
    result = predict(trained, tmp_path, tmp_path / "results")
    assert result.status == 0
    assert [row["file"] for row in rows(tmp_path / "results")] == [f"{tmp_path}/caf\\xe9.png", f"{tmp_path}/schön.png"]


@pytest.mark.slow
def test_a_batch_does_not_change_what_an_image_gets(predicted, trained, folder, tmp_path):
    assert predict(trained, folder / "a", tmp_path, "--batch_size=1", "--top_k=2").status == 0
    together = {row["file"]: row for row in rows(predicted[1])}
    for row in rows(tmp_path):
        for alone, among in zip(row["predictions"], together[row["file"]]["predictions"], strict=True):
            assert alone["class"] == among["class"]
            assert alone["probability"] == pytest.approx(among["probability"], abs=2e-6)


@pytest.mark.slow
def test_only_unreadable_files_are_rows_too(trained, folder, tmp_path):
    result = predict(trained, folder / "notes", tmp_path)
    assert result.status == 3
    (row,) = rows(tmp_path)
    assert set(row) == {"file", "error"}
    assert (tmp_path / "predictions.csv").read_text().startswith("file,error,class_1,")


@pytest.mark.slow
def test_a_checkpoint_without_names_gives_numbers(trained, folder, tmp_path):
    for path in [*trained.glob("model.ckpt-5.data*"), *trained.glob("model.ckpt-5.index")]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    flags = ("--num_classes=3", "--image_size=16")
    assert predict(tmp_path / "model.ckpt-5", folder / "a" / "03.PNG", tmp_path, *flags).status == 0
    (row,) = rows(tmp_path)
    assert [entry["name"] for entry in row["predictions"]] == [str(entry["class"]) for entry in row["predictions"]]


@pytest.mark.slow
def test_names_of_a_file_replace_those_of_the_checkpoint(trained, folder, tmp_path):
    (tmp_path / "names.txt").write_text("rund\ngerade\neckig\n")
    result = predict(trained, folder / "a" / "03.PNG", tmp_path, f"--class_names={tmp_path / 'names.txt'}")
    assert result.status == 0, result.error
    assert {entry["name"] for entry in rows(tmp_path)[0]["predictions"]} == {"rund", "gerade", "eckig"}


def test_without_weights_there_is_no_prediction(folder, tmp_path):
    result = predict(tmp_path, folder, tmp_path)
    assert result.status == 1
    assert f"--model_dir {tmp_path}: holds no checkpoint; --mode predict needs trained weights" in result.error


@pytest.mark.slow
def test_a_signal_keeps_what_was_predicted(trained, folder, tmp_path):
    genuine = ProgressHook.after_step

    def after_step(self, record):
        if record.step == 2:
            send(signal.SIGTERM)()
        genuine(self, record)

    with mock.patch.object(ProgressHook, "after_step", after_step):
        result = predict(trained, folder / "a", tmp_path, "--batch_size=1")
    assert result.status == 75
    assert len(rows(tmp_path)) == 2


@pytest.mark.slow
def test_weights_that_are_no_numbers_are_an_error_and_no_prediction(trained, folder, tmp_path):
    with mock.patch("runtime.prediction.prediction.load_weights", poison):
        result = predict(trained, folder / "a", tmp_path)
    assert result.status == 1
    assert "the network's probabilities are not finite: the weights are damaged" in result.error
    assert not (tmp_path / "predictions.json").exists()


def poison(session, weights, prefix, which):
    """Weights that are all infinite."""
    for variable in weights.variables:
        variable.load(np.full(variable.shape, np.inf, np.float32), session)
    return "raw", ""


# Files


def test_a_folder_is_searched_for_images_of_all_kinds_in_order(tmp_path):
    names = ["z.jpg", "b/x.JPEG", "b/c/d.webp", "a.tiff", "b/y.gif", "c.bmp"]
    for name in [*names, "b/readme.md", "no_suffix", "d.txt"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_images(str(tmp_path))
    assert found.images == sorted(tmp_path / name for name in names)
    assert found.others == {".md": 1, ".txt": 1, "no_suffix": 1}


def test_every_kind_that_conversion_reads_is_found_and_read(tmp_path):
    """An image in a folder, by a glob and by its own name."""
    if not features.check("jpg_2000"):
        pytest.skip("this Pillow has no OpenJPEG")
    image, written = Image.fromarray(noise(1, 16, 12)), {}
    for suffix in IMAGE_SUFFIXES:
        written[suffix] = tmp_path / f"picture{suffix}"
        image.convert("1" if suffix == ".pbm" else "L" if suffix == ".pgm" else "RGB").save(written[suffix])
    assert find_images(str(tmp_path)) == (sorted(written.values()), {})
    assert find_images(str(tmp_path / "picture*")).images == sorted(written.values())
    for path in written.values():
        assert find_images(str(path)).images == [path]
        read = load_rgb(path)
        assert (read.height, read.width) == (16, 12), path


def test_hidden_files_and_folders_are_passed_over_as_in_conversion(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".thumbnails/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(str(tmp_path)) == ([tmp_path / "a.jpg"], {"hidden": 1})


def test_one_file_is_taken_whatever_its_name(tmp_path):
    (tmp_path / "photo").touch()
    assert find_images(str(tmp_path / "photo")).images == [tmp_path / "photo"]


def test_a_glob_takes_the_files_that_match(tmp_path):
    for name in ("a1.png", "a2.png", "b1.png", "sub/a3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(str(tmp_path / "a*.png")).images == [tmp_path / "a1.png", tmp_path / "a2.png"]
    assert find_images(str(tmp_path / "**" / "a*")).images == [
        tmp_path / "a1.png",
        tmp_path / "a2.png",
        tmp_path / "sub" / "a3.png",
    ]
    assert find_images(str(tmp_path / "*")).images == [tmp_path / name for name in ("a1.png", "a2.png", "b1.png")]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    (tmp_path / "photo[1].png").touch()
    (tmp_path / "photo1.png").touch()
    assert find_images(str(tmp_path / "photo[1].png")).images == [tmp_path / "photo[1].png"]


@pytest.mark.parametrize("pattern", ["missing.png", "*.nothing"])
def test_what_matches_nothing_is_a_sentence(tmp_path, pattern):
    with pytest.raises(RunError, match=r"--to_predict .*: no such image or folder; as a glob, it matches no file"):
        find_images(str(tmp_path / pattern))


def test_a_folder_without_images_is_a_sentence(tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(RunError, match=rf"--to_predict {tmp_path}: the folder holds no image \(\.bmp "):
        find_images(str(tmp_path))
