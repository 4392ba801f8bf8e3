import json

import numpy as np
import pytest

from object_detection.coco.tables import from_json, results_json, round_px, shortest, to_pixels
from tests.object_detection.coco_problems import SIDES_PX, problem, random_box
from utils.errors import RunError


@pytest.fixture
def pair():
    return problem(3)


def test_json_becomes_tables(pair):
    groundtruth, results = pair
    tables = from_json(groundtruth, results)
    assert tables.image_ids.tolist() == [image["id"] for image in groundtruth["images"]]
    assert tables.sizes_px.tolist() == [[image["height"], image["width"]] for image in groundtruth["images"]]
    assert tables.categories == {c["id"]: c["name"] for c in groundtruth["categories"]}
    assert tables.groundtruth.boxes_px.tolist() == [a["bbox"] for a in groundtruth["annotations"]]
    assert tables.groundtruth.areas_px.tolist() == [a["area"] for a in groundtruth["annotations"]]
    assert tables.groundtruth.crowds.tolist() == [bool(a["iscrowd"]) for a in groundtruth["annotations"]]
    assert tables.results.scores.tolist() == [r["score"] for r in results]
    assert tables.results.category_ids.tolist() == [r["category_id"] for r in results]


def test_tables_become_json_by_image_without_other_categories(pair):
    groundtruth, results = pair
    groundtruth["categories"] = groundtruth["categories"][:4]
    wanted = {category["id"] for category in groundtruth["categories"]}
    written = results_json(from_json(groundtruth, results))
    expected = [r for r in results if r["category_id"] in wanted]
    assert json.loads(written) == sorted(expected, key=lambda result: result["image_id"])
    assert written.count(b"\n") == len(expected)
    assert written == results_json(from_json(groundtruth, results))


def test_no_detection_is_an_empty_list(pair):
    assert json.loads(results_json(from_json(pair[0], []))) == []


def test_what_may_be_missing_may_be(pair):
    groundtruth, _ = pair
    annotation = groundtruth["annotations"][0]
    del annotation["area"], annotation["iscrowd"], groundtruth["images"][0]["height"]
    groundtruth["images"][0]["width"] = None
    tables = from_json(groundtruth, [])
    assert tables.groundtruth.areas_px[0] == annotation["bbox"][2] * annotation["bbox"][3]
    assert not tables.groundtruth.crowds[0]
    assert np.isnan(tables.sizes_px[0]).all()


def test_annotations_of_images_that_are_not_listed_are_left_out(pair):
    groundtruth, _ = pair
    gone = groundtruth["images"].pop()["id"]
    left = [a["bbox"] for a in groundtruth["annotations"] if a["image_id"] != gone]
    assert from_json(groundtruth, []).groundtruth.boxes_px.tolist() == left


def change(entries, row, key, value=None):
    if value is None:
        del entries[row][key]
    else:
        entries[row][key] = value


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda g, r: g.pop("images"), 'groundtruth: must be an object with "images"'),
        (lambda g, r: change(r, 2, "score"), 'results, entry 2 (counted from 0): has no "score"'),
        (lambda g, r: change(r, 1, "score", float("nan")), '"score" is nan; must be a finite number'),
        (lambda g, r: change(r, 1, "score", "0.5"), "\"score\" is '0.5'; must be a finite number"),
        (lambda g, r: change(r, 1, "bbox", [1, 2, 3]), '"bbox" is [1, 2, 3]; must be 4 finite numbers'),
        (lambda g, r: change(r, 1, "category_id", 1.5), '"category_id" is 1.5; must be a whole number'),
        (lambda g, r: r.insert(0, "x"), "results, entry 0 (counted from 0): is 'x'; must be an object"),
        (lambda g, r: change(g["annotations"], 0, "bbox", [0, 0, float("inf"), 1]), "must be 4 finite numbers"),
        (lambda g, r: change(g["annotations"], 0, "area", "big"), "\"area\" is 'big'; must be a finite number"),
        (lambda g, r: change(g["categories"], 0, "name"), 'groundtruth, category 0 (counted from 0): has no "name"'),
        (lambda g, r: change(g["annotations"], 0, "iscrowd", [1]), '"iscrowd" is [1]; must be 0 or 1'),
        (lambda g, r: change(g["annotations"], 0, "id", [1]), '"id" is [1]; must be a whole number'),
        (lambda g, r: change(g["categories"], 0, "name", 7), '"name" is 7; must be a text'),
        (lambda g, r: change(r, 0, "image_id", True), '"image_id" is True; must be a whole number'),
        (lambda g, r: change(r, 0, "image_id", 2**63), '"image_id" is 9223372036854775808; must be a whole number'),
        (lambda g, r: change(r, 0, "score", 10**400), "must be a finite number"),
        (lambda g, r: g.update(images={"id": 1}), "groundtruth: \"images\" is {'id': 1}; must be a list"),
        (lambda g, r: g["annotations"].append(g["annotations"][0]), "annotation 0 (counted from 0): its id 1 comes 2"),
        (lambda g, r: g["images"].append(g["images"][1]), "comes 2 times; ids must be unique"),
        (lambda g, r: change(r, 0, "image_id", 999), "results: 1 image id not in groundtruth, such as 999"),
        (
            lambda g, r: [change(r, n, "image_id", 900 + n) for n in range(len(r))],
            "the first unknown one is 900; is it of",
        ),
        (
            lambda g, r: [change(r, n, "image_id", r[n]["image_id"] + 1) for n in range(len(r))],
            "; each of its image ids -1 is: check where the ids begin",
        ),
    ],
)
def test_what_is_wrong_is_said(pair, break_it, message):
    groundtruth, results = pair
    break_it(groundtruth, results)
    with pytest.raises(RunError) as error:
        from_json(groundtruth, results)
    assert message in str(error.value)


def test_results_must_be_a_list(pair):
    with pytest.raises(RunError, match="results: must be a list"):
        from_json(pair[0], {"annotations": []})


def test_files_in_the_wrong_order_are_named(pair):
    with pytest.raises(RunError, match=r"^r.json: holds a list, and g.json an object: the two files are in the wrong"):
        from_json(pair[1], pair[0], names=("r.json", "g.json"))


def test_pixels_of_the_annotation_file_come_back_from_float32():
    random = np.random.default_rng(0)
    for height, width in [*SIDES_PX, (5000, 4000)]:
        boxes = np.array([random_box(random, height, width) for _ in range(500)])
        x, y, box_width, box_height = boxes.T
        relative = np.stack([y / height, x / width, (y + box_height) / height, (x + box_width) / width], axis=1)
        found = to_pixels(relative.astype(np.float32), np.tile([height, width], (500, 1)))
        assert found.tolist() == boxes.tolist()


def test_areas_of_the_annotation_file_come_back_from_float32_where_they_decide():
    areas = np.array([1023.99, 1024.0, 1024.01, 9215.99, 9216.0, 9216.01])
    assert round_px(areas.astype(np.float32)).round(2).tolist() == areas.tolist()


def test_scores_are_written_with_the_digits_that_tell_them_apart():
    scores = np.array([0.9, 0.1, 1e-8, 1.0, 0.33333334, 0.0], np.float32)
    assert shortest(scores).tolist() == [0.9, 0.1, 1e-8, 1.0, 0.33333334, 0.0]
    many = np.sort(np.random.default_rng(0).random(10_000).astype(np.float32))
    assert np.array_equal(shortest(many).astype(np.float32), many)
    assert np.array_equal(np.argsort(shortest(many), kind="stable"), np.arange(10_000))
