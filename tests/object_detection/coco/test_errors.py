"""Kinds of errors and their costs, against hand-made cases and against errors fixed in the files themselves."""

import copy
import json

import numpy as np
import pytest

from object_detection.coco.details import operating_score
from object_detection.coco.error_details import error_details
from object_detection.coco.errors import ALL_FALSE, ALL_MISSED, FALSE_KINDS, FIXES, KINDS, MISSED, find_errors
from object_detection.coco.metrics import score_arrays
from object_detection.coco.pictures import PICTURES_A_KIND, Pictures
from object_detection.coco.tables import from_json
from tests.object_detection.coco_problems import plain_pycocotools, problem

CAT, DOG = 1, 2
HERE, THERE = [0, 0, 20, 20], [100, 0, 20, 20]
NEAR_HERE = [10, 0, 20, 20]  # IoU 1/3
CLOSE_TO_HERE = [2, 0, 20, 20]  # IoU 9/11
FAR = [18, 0, 20, 20]  # IoU 1/19


def files(objects, results, images=(1,)):
    """Returns an annotation file and results from (image, category, box[, crowd]) and (image, category, box, score)."""
    annotations = [
        {"id": n, "image_id": i, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": int(bool(crowd))}
        for n, (i, c, box, *crowd) in enumerate(objects, 1)
    ]
    groundtruth = {
        "images": [{"id": image, "width": 200, "height": 100} for image in images],
        "annotations": annotations,
        "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog"}],
    }
    return groundtruth, [dict(zip(("image_id", "category_id", "bbox", "score"), row, strict=True)) for row in results]


def analysed(groundtruth, results):
    tables = from_json(groundtruth, results)
    summary = score_arrays(tables.groundtruth, tables.results, list(tables.categories))
    return tables, summary, find_errors(summary.matches)


def told(groundtruth, results):
    _, summary, errors = analysed(groundtruth, results)
    return error_details(summary, errors, operating_score(summary.matches))


CASES = {
    "a cat on a dog": ([(1, DOG, HERE)], [(1, CAT, CLOSE_TO_HERE, 0.9)], ["classification"], 0),
    "beside its object": ([(1, CAT, HERE)], [(1, CAT, NEAR_HERE, 0.9)], ["localization"], 0),
    "a cat beside a dog": ([(1, DOG, HERE)], [(1, CAT, NEAR_HERE, 0.9)], ["both"], 1),
    "found twice": ([(1, CAT, HERE)], [(1, CAT, HERE, 0.9), (1, CAT, CLOSE_TO_HERE, 0.8)], ["duplicate"], 0),
    "on nothing": ([(1, CAT, HERE)], [(1, CAT, THERE, 0.9), (1, CAT, FAR, 0.8)], ["background"] * 2, 1),
    "in an image without objects": ([(2, CAT, HERE)], [(1, CAT, HERE, 0.9)], ["background"], 1),
    "nothing found": ([(1, CAT, HERE), (1, DOG, THERE)], [], [], 2),
    "the nearer of two objects of different categories is meant": (
        [(1, CAT, NEAR_HERE), (1, DOG, HERE)],
        [(1, CAT, CLOSE_TO_HERE, 0.9), (1, CAT, NEAR_HERE, 0.95)],
        ["classification"],
        0,
    ),
    "a found object is not found again beside another": (
        [(1, CAT, HERE), (1, DOG, CLOSE_TO_HERE)],
        [(1, CAT, HERE, 0.9), (1, CAT, [0, 1, 20, 20], 0.8)],
        ["duplicate"],
        1,
    ),
    "an own object beside it counts before another's": (
        [(1, CAT, [12, 0, 20, 20]), (1, DOG, NEAR_HERE)],
        [(1, CAT, HERE, 0.9)],
        ["localization"],
        1,
    ),
    "crowds are no objects": ([(1, DOG, HERE, True)], [(1, CAT, HERE, 0.9)], ["background"], 0),
    "detections in a crowd are not wrong": ([(1, CAT, HERE, True)], [(1, CAT, HERE, 0.9)], [], 0),
}


@pytest.mark.parametrize("case", CASES)
def test_each_error_has_its_kind(case):
    objects, results, kinds, missed = CASES[case]
    _, summary, errors = analysed(*files(objects, results, images=(1, 2)))
    assert [FALSE_KINDS[kind] for kind in errors.kinds if kind >= 0] == kinds
    assert errors.missed(summary.matches).sum() == missed
    rows = {row["kind"]: row for row in error_details(summary, errors, 0.0)["kinds"]}
    assert tuple(rows) == FIXES
    assert {kind: rows[kind]["count"] for kind in KINDS} == {
        **{kind: kinds.count(kind) for kind in FALSE_KINDS},
        MISSED: missed,
    }


def test_costs_are_those_of_the_arithmetic():
    """Of two cats one is found, after a false alarm: precision 1/2 up to recall 1/2, which is 51 of 101 levels."""
    objects = [(1, CAT, HERE), (1, CAT, THERE)]
    found = told(*files(objects, [(1, CAT, [50, 50, 9, 9], 0.9), (1, CAT, HERE, 0.8)]))
    base = 0.5 * 51 / 101
    assert found["average_precision"] == pytest.approx(base, abs=1e-12)
    costs = {row["kind"]: row["cost"] for row in found["kinds"]}
    assert costs == pytest.approx(
        {
            **dict.fromkeys(KINDS, 0.0),
            "background": 51 / 101 - base,  # precision 1 up to recall 1/2
            MISSED: 0.5 - base,  # precision 1/2 up to recall 1
            ALL_FALSE: 51 / 101 - base,
            ALL_MISSED: 0.5 - base,
        },
        abs=1e-12,
    )
    assert [row["id"] for row in found["classes"]] == [CAT, DOG]
    assert found["classes"][0]["costs"] == pytest.approx([*costs.values()])
    assert found["classes"][1]["costs"] == [None] * len(FIXES)  # there is no dog


def test_a_fixed_detection_takes_its_object_from_a_less_confident_one():
    objects = [(1, CAT, HERE), (1, CAT, THERE)]
    results = [(1, DOG, HERE, 0.9), (1, CAT, [50, 50, 9, 9], 0.8), (1, CAT, HERE, 0.7), (1, CAT, THERE, 0.6)]
    found = told(*files(objects, results))
    # before: wrong, right, right; after: right, wrong, right
    base = (51 * 2 / 3 + 50 * 2 / 3) / 101
    assert found["average_precision"] == pytest.approx(base)
    assert found["kinds"][0]["cost"] == pytest.approx((51 + 50 * 2 / 3) / 101 - base)


def test_no_cost_is_told_where_a_fix_leaves_nothing_to_find():
    costs = {row["kind"]: row["cost"] for row in told(*files([(1, CAT, HERE)], []))["kinds"]}
    assert costs[MISSED] is costs[ALL_MISSED] is None
    assert costs[ALL_FALSE] == 0.0
    assert {row["cost"] for row in told(*files([], [(1, CAT, HERE, 0.5)]))["kinds"]} == {None}


def overlap(a, b):
    """The IoU of two boxes, in plain numbers."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def literally(groundtruth, results):
    """Sorts the errors one by one; returns for each result its kind, "right" or None, its object, and the missed."""
    real = [a for a in groundtruth["annotations"] if not a["iscrowd"]]
    crowds = [a for a in groundtruth["annotations"] if a["iscrowd"]]
    kinds, objects, found = [None] * len(results), [None] * len(results), set()
    for n in sorted(range(len(results)), key=lambda n: -results[n]["score"]):
        result = results[n]
        near = [a for a in real if a["image_id"] == result["image_id"]]
        ious = {a["id"]: overlap(result["bbox"], a["bbox"]) for a in near}
        own = [a["id"] for a in near if a["category_id"] == result["category_id"]]
        others = [a["id"] for a in near if a["category_id"] != result["category_id"]]
        free = [a for a in own if a not in found and ious[a] >= 0.5]
        best, other = (max(ids, key=ious.get, default=None) for ids in (own, others))
        reach, other_reach = (ious[a] if a else 0 for a in (best, other))
        if free:
            kinds[n], objects[n] = "right", max(free, key=ious.get)
            found.add(objects[n])
        elif not _is_in(result, crowds):
            if other_reach >= 0.5 and other_reach > reach:
                kinds[n], objects[n] = "classification", other
            elif reach >= 0.1:
                kinds[n], objects[n] = "duplicate" if reach >= 0.5 else "localization", best
            else:
                kinds[n] = "both" if other_reach >= 0.1 else "background"
    reached = {a for kind, a in zip(kinds, objects, strict=True) if kind in ("classification", "localization")}
    return kinds, objects, {a["id"] for a in real} - found - reached, {a["id"] for a in real} - found


def _is_in(result, crowds):
    """Whether half of a result lies in a crowd of its category."""
    x, y, width, height = result["bbox"]
    for crowd in crowds:
        if (crowd["image_id"], crowd["category_id"]) == (result["image_id"], result["category_id"]):
            left, top, wide, high = crowd["bbox"]
            shared = max(min(x + width, left + wide) - max(x, left), 0)
            shared *= max(min(y + height, top + high) - max(y, top), 0)
            if shared >= 0.5 * width * height:
                return True
    return False


def precision_at_half(groundtruth, results):
    """Average precision by category as pycocotools computes it; -1 without objects."""
    evaluation, _ = plain_pycocotools(groundtruth, results)
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    return np.array([column.mean() if column.max() > -1 else -1.0 for column in precision.T])


def repaired(groundtruth, results, fix):
    """Returns both files with the errors of a kind fixed in them."""
    kinds, objects, missed, not_found = literally(groundtruth, results)
    groundtruth, results = copy.deepcopy(groundtruth), copy.deepcopy(results)
    if fix in (MISSED, ALL_MISSED):
        gone = missed if fix == MISSED else not_found
        groundtruth["annotations"] = [a for a in groundtruth["annotations"] if a["id"] not in gone]
        return groundtruth, results
    if fix not in ("classification", "localization"):
        wrong = FALSE_KINDS if fix == ALL_FALSE else (fix,)
        return groundtruth, [result for result, kind in zip(results, kinds, strict=True) if kind not in wrong]
    known, kept, taken = {a["id"]: a for a in groundtruth["annotations"]}, set(), set()
    for n in sorted(range(len(results)), key=lambda n: (-results[n]["score"], kinds[n] != "right")):
        if kinds[n] in ("right", fix):
            if objects[n] not in taken:
                kept.add(n)
            taken.add(objects[n])
            if kinds[n] == fix:
                key = "category_id" if fix == "classification" else "bbox"
                results[n][key] = known[objects[n]][key]
        else:
            kept.add(n)
    return groundtruth, [result for n, result in enumerate(results) if n in kept]


def confused(groundtruth, results, seed=3):
    """Gives some results another category, and each a score of its own: pycocotools orders equal ones by place."""
    random = np.random.default_rng(seed)
    scores = random.permutation(len(results)) / len(results)
    ids = [category["id"] for category in groundtruth["categories"]]
    changed = [{**result, "score": score} for result, score in zip(results, scores.tolist(), strict=True)]
    for result in changed:
        if random.random() < 0.3:
            result["category_id"] = int(random.choice(ids))
    return changed


PROBLEMS = {
    "errors of all kinds": {"images": 20, "objects": 6, "detections": 9, "categories": 3},
    "crowds": {"images": 8, "crowds": 0.4, "categories": 2, "objects": 6},
    "many objects in few images": {"images": 3, "objects": 25, "detections": 60, "categories": 2},
    "categories without objects": {"images": 5, "objects": 1, "categories": 8},
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_costs_are_those_of_errors_fixed_in_the_files(name):
    groundtruth, results = problem(seed=len(name), **PROBLEMS[name])
    results = confused(groundtruth, results)
    found = told(groundtruth, results)
    rows = {row["kind"]: row for row in found["kinds"]}
    kinds, _, missed, not_found = literally(groundtruth, results)
    assert {kind: rows[kind]["count"] for kind in FALSE_KINDS} == {kind: kinds.count(kind) for kind in FALSE_KINDS}
    assert (rows[MISSED]["count"], rows[ALL_MISSED]["count"]) == (len(missed), len(not_found))
    if name == "errors of all kinds":
        assert min(row["cost"] for row in rows.values()) > 0
    before = precision_at_half(groundtruth, results)
    mean = before[before > -1].mean()
    assert found["average_precision"] == pytest.approx(mean, abs=1e-9)
    for place, fix in enumerate(FIXES):
        after = precision_at_half(*repaired(groundtruth, results, fix))
        assert rows[fix]["cost"] == pytest.approx(after[after > -1].mean() - mean, abs=1e-9), fix
        by_class = [row["costs"][place] for row in found["classes"]]
        known = (before > -1) & (after > -1)
        assert [cost is not None for cost in by_class] == known.tolist()
        assert [cost for cost in by_class if cost is not None] == pytest.approx((after - before)[known], abs=1e-9)


def test_average_precision_over_iou_and_size_is_that_of_pycocotools():
    groundtruth, results = problem(12, seed=2, categories=3)
    found = told(groundtruth, results)
    precision = plain_pycocotools(groundtruth, results)[0].eval["precision"][..., -1].mean(axis=1)  # [T, K, S]
    for s, size in enumerate(("all", "small", "medium", "large")):
        known = precision[0, :, s] > -1
        np.testing.assert_allclose(found["by_iou"][size], precision[:, known, s].mean(axis=1), rtol=0, atol=1e-12)
        by_size = [row["by_size"][size] for row in found["classes"]]
        np.testing.assert_allclose(by_size, precision[:, :, s].mean(axis=0), rtol=0, atol=1e-12)
    by_iou = [row["by_iou"] for row in found["classes"]]
    np.testing.assert_allclose(by_iou, precision[:, :, 0].T, rtol=0, atol=1e-12)
    assert found["ious"] == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]


def test_errors_from_the_operating_score_on_are_those_without_the_others():
    groundtruth, results = problem(12, seed=4, categories=3)
    results = confused(groundtruth, results)
    _, summary, errors = analysed(groundtruth, results)
    sure = [row["sure"] for row in error_details(summary, errors, 0.5)["kinds"]]
    alone = told(groundtruth, [result for result in results if result["score"] >= 0.5])
    assert sure == [row["count"] for row in alone["kinds"]]


def pictures(objects, results, images):
    tables, summary, errors = analysed(*files(objects, results, images))
    return Pictures(tables, summary.matches, {image: 10 * image for image in images}).of_errors(errors)


def test_pictures_show_an_error_with_the_object_that_it_is_judged_by():
    objects, results, *_ = CASES["found twice"]
    (entry,) = pictures(objects, results, (1,))
    assert (entry["error"], entry["image_id"], entry["index"], entry["width"]) == ("duplicate", 1, 10, 200)
    sides = [0.0, 0.0, 0.2, 0.1]
    assert [(box["kind"], box["score"]) for box in entry["boxes"]] == [("wrong", 0.8), ("object", None), ("right", 0.9)]
    assert [box["box"] for box in entry["boxes"]] == [[0.0, 0.01, 0.2, 0.11], sides, sides]


def test_the_most_confident_errors_and_the_largest_misses_of_different_images_come_first():
    images = tuple(range(1, 8))
    objects = [(image, DOG, [0, 0, 20, 4 * image]) for image in images]
    results = [(i, CAT, [150, 0, 20, 20], (0.5 + i / 20) - 0.01 * n) for i in images for n in range(2)]
    found = pictures(objects, results, images)
    wrong, missed = ([entry for entry in found if entry["error"] == kind] for kind in ("background", MISSED))
    assert len(found) == len(wrong) + len(missed)
    assert [entry["image_id"] for entry in wrong] == [7, 6, 5, 4][:PICTURES_A_KIND]
    assert [entry["boxes"][0]["score"] for entry in wrong] == pytest.approx([0.85, 0.8, 0.75, 0.7])
    assert [entry["image_id"] for entry in missed] == [7, 6, 5, 4]
    assert [[box["kind"] for box in entry["boxes"]] for entry in missed] == [["missed"]] * 4


@pytest.mark.parametrize(("objects", "results"), [([], []), ([(1, CAT, HERE)], []), ([], [(1, CAT, HERE, 0.5)])])
def test_nothing_to_find_and_nothing_found_are_told_as_json(objects, results):
    groundtruth, results = files(objects, results)
    assert json.loads(json.dumps(told(groundtruth, results), allow_nan=False))["ious"]
    assert told({**groundtruth, "categories": []}, results)["classes"] == []
