"""The README's pictures, drawn from made-up predictions in the folders that examples/readme_pictures.sh makes."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.examples.loading import load_example
from utils.errors import RunError

GREEN, GREY, PINK = (0, 160, 0), (120, 120, 120), (250, 220, 230)
CATEGORIES = [{"id": 4, "name": "red cell"}, {"id": 7, "name": "white cell"}]


@pytest.fixture(scope="module")
def script():
    return load_example("make_pictures")


@pytest.fixture
def places(tmp_path):
    """The folder of runs, and the part of the sample data that the pictures show."""
    out, data = tmp_path / "out", tmp_path / "data"
    for folder in (out / "clothing_predictions", out / "cell_evaluation", data / "bccd/annotations"):
        folder.mkdir(parents=True)
    rows = [photograph(data, "hat", "b.png", "shoes"), photograph(data, "hat", "a.png", "hat")]
    rows += [photograph(data, "shoes", "c.png", "hat"), {"file": "dress/broken.jpg", "error": "no image"}]
    write(out / "clothing_predictions/predictions.json", rows)
    groundtruth, detections = cells(data / "bccd/images/val")
    write(data / "bccd/annotations/instances_val.json", groundtruth)
    write(out / "cell_evaluation/detections.json", detections)
    Image.new("RGB", (1760, 1640), GREEN).save(out / "report.png")
    return out, data


def photograph(data, true, name, guess):
    """A file in the folder of its class, and what a classifier says of it."""
    path = data / "clothing" / "validation" / true / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (30, 40), GREY).save(path)
    names = [guess, *({"hat", "shoes", "skirt"} - {guess})]
    guesses = [{"name": n, "probability": p} for n, p in zip(names, (0.7, 0.2, 0.1), strict=True)]
    return {"file": str(path), "predictions": guesses}


def cells(folder):
    """Ten images with an object each: the last one is missed, and the first image has a false alarm too."""
    folder.mkdir(parents=True)
    images, annotations, detections = [], [], []
    for number in range(10):
        name = f"cell-{number}.jpg"
        Image.new("RGB", (160, 120), PINK).save(folder / name)
        images.append({"id": 100 + number, "file_name": name, "width": 160, "height": 120})
        place = {"image_id": 100 + number, "category_id": 4, "bbox": [40, 30, 40, 40]}
        annotations.append({**place, "id": number, "area": 1600, "iscrowd": 0})
        if number < 9:
            detections.append({**place, "score": 0.9})
    detections.append({"image_id": 100, "category_id": 7, "bbox": [100, 70, 30, 30], "score": 0.95})
    detections += [{**place, "bbox": [0, 0, 9, 9], "score": 0.01}] * 20  # below the score from which detections count
    return {"images": images[::-1], "annotations": annotations, "categories": CATEGORIES}, detections


def write(path, content):
    path.write_text(json.dumps(content))


def read(path):
    return json.loads(path.read_text())


def has(pixels, color, tolerance=12):
    """Tell if one pixel at least has nearly a color."""
    return bool((np.abs(pixels - color).max(axis=-1) <= tolerance).any())


def test_the_first_file_of_each_class_is_chosen(script, places):
    out, _ = places
    chosen = script.first_of_each_class(read(out / "clothing_predictions/predictions.json"))
    assert [row["file"].rsplit("/", 2)[1:] for row in chosen] == [["hat", "a.png"], ["shoes", "c.png"]]


def test_a_wrong_guess_is_red_and_a_right_one_green(script, places):
    out, _ = places
    rows = script.first_of_each_class(read(out / "clothing_predictions/predictions.json"))
    pixels = np.asarray(script.draw_photographs(rows), int)
    step = (script.WIDTH_PX - script.GAP_PX) // script.PHOTOGRAPH_COLUMNS
    first, second = pixels[:, :step], pixels[:, step : 2 * step]
    assert (has(first, script.RIGHT, 0), has(first, script.WRONG, 0)) == (True, False)
    assert (has(second, script.RIGHT, 0), has(second, script.WRONG, 0)) == (True, True)  # the right one comes second
    for part in (first, second):
        assert has(part, GREY, 0)
        assert has(part, script.OTHER, 0)


def test_boxes_are_found_missed_or_false_alarms(script, places):
    out, data = places
    judged = script.judge(
        read(data / "bccd/annotations/instances_val.json"), read(out / "cell_evaluation/detections.json")
    )
    assert [[box.kind for box in judged[100 + number]] for number in range(10)] == [
        ["found", "false alarms"],
        *[["found"]] * 8,
        ["missed"],
    ]
    assert judged[100][1] == ("false alarms", 7, (100, 70, 30, 30))


def test_images_are_spread_evenly_over_the_file_names(script, places):
    _, data = places
    images = read(data / "bccd/annotations/instances_val.json")["images"]
    assert [image["id"] for image in script.evenly_spread(images, 4)] == [100, 103, 106, 109]
    assert [image["id"] for image in script.evenly_spread(images[:2], 6)] == [108, 109]


def test_each_kind_of_box_has_its_color(script, places):
    out, data = places
    groundtruth = read(data / "bccd/annotations/instances_val.json")
    judged = script.judge(groundtruth, read(out / "cell_evaluation/detections.json"))
    names = {category["id"]: category["name"] for category in CATEGORIES}
    images = script.evenly_spread(groundtruth["images"], 3)
    pixels = np.asarray(script.draw_micrographs(images, data / "bccd/images/val", judged, names), int)
    step = (script.WIDTH_PX - script.GAP_PX) // script.MICROGRAPH_COLUMNS
    above_legend = pixels[: -2 * script.GAP_PX - 40]
    colors = (script.FOUND[0], script.FALSE, script.MISSED)
    drawn = [[has(above_legend[:, n * step : (n + 1) * step], color) for color in colors] for n in range(3)]
    assert drawn == [[True, True, False], [True, False, False], [False, False, True]]
    for color in (*script.FOUND[:2], script.FALSE, script.MISSED):
        assert has(pixels[-2 * script.GAP_PX - 40 :], color)


def test_the_command_writes_all_three(script, places, tmp_path, capsys):
    docs = tmp_path / "docs"
    assert script.main([*map(str, places), str(docs)]) == 0
    names = ["photographs.jpg", "micrographs.jpg", "report.png"]
    assert capsys.readouterr().out.split() == [str(docs / name) for name in names]
    sizes = {}
    for name in names:
        with Image.open(docs / name) as picture:
            sizes[name] = picture.size
    assert sizes["photographs.jpg"][0] == sizes["micrographs.jpg"][0] == script.WIDTH_PX
    assert sizes["report.png"] == (1760, 1640)


def test_without_a_browsers_picture_the_report_is_left_out(script, places, tmp_path):
    (places[0] / "report.png").unlink()
    assert script.main([*map(str, places), str(tmp_path / "docs")]) == 0
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == ["micrographs.jpg", "photographs.jpg"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda out: (out / "cell_evaluation/detections.json").unlink(), "detections.json'"),
        (lambda out: write(out / "cell_evaluation/detections.json", {}), "results: must be a list"),
        (lambda out: write(out / "clothing_predictions/predictions.json", []), "holds no prediction to draw"),
    ],
    ids=["no detections", "other detections", "no predictions"],
)
def test_what_is_missing_is_said_in_a_sentence(script, places, tmp_path, capsys, spoil, sentence):
    spoil(places[0])
    assert script.main([*map(str, places), str(tmp_path / "docs")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert not (tmp_path / "docs").exists()


def test_predictions_without_a_readable_file_are_refused(script):
    with pytest.raises(RunError, match="holds no prediction"):
        script.first_of_each_class([{"file": "hat/a.jpg", "error": "no image"}])
