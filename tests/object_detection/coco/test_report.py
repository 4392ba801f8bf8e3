import dataclasses

import numpy as np
import pytest

from object_detection.coco.metrics import score_arrays
from object_detection.coco.report import findings, lines, report
from object_detection.coco.tables import from_json
from tests.object_detection.coco_problems import plain_pycocotools, problem


def scored(tables):
    return tables, score_arrays(tables.groundtruth, tables.results, list(tables.categories))


def perfect(**sizes):
    """Returns a data set whose detections equal its objects."""
    groundtruth, _ = problem(12, seed=2, crowds=0.0, **sizes)
    keys = ("image_id", "category_id", "bbox")
    return from_json(groundtruth, [{**{k: a[k] for k in keys}, "score": 0.5} for a in groundtruth["annotations"]])


def changed(tables, **columns):
    """Returns the tables with some columns of the results replaced."""
    return dataclasses.replace(tables, results=dataclasses.replace(tables.results, **columns))


def sides(tables):
    size = {image: size[::-1] for image, size in zip(tables.image_ids.tolist(), tables.sizes_px.tolist(), strict=True)}
    return np.array([[*size[image], *size[image]] for image in tables.results.image_ids.tolist()])


def sentence(tables):
    (found,) = findings(*scored(tables))
    return found


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("sizes", [{}, {"categories": 1, "objects": 0.5, "detections": 3}], ids=["many", "few"])
def test_the_lines_are_those_that_pycocotools_prints(seed, sizes):
    groundtruth, results = problem(6, seed=seed, **sizes)
    _, printed = plain_pycocotools(groundtruth, results)
    _, summary = scored(from_json(groundtruth, results))
    assert "\n".join(lines(summary)) + "\n" == printed
    assert printed.startswith(" Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = ")


def test_where_nothing_is_wrong_the_lines_are_all():
    tables, summary = scored(perfect(objects=15))
    assert report(tables, summary) == "\n".join(lines(summary)) + "\n"


def test_no_groundtruth_at_all():
    tables = perfect()
    empty = dataclasses.replace(tables, groundtruth=tables.groundtruth.take(np.array([], int)))
    assert sentence(empty) == "Average precision is -1: the groundtruth has no object at all."


def test_groundtruth_of_no_category():
    tables = dataclasses.replace(perfect(), categories={2: "a", 4: "b"})
    assert sentence(tables) == "Average precision is -1: no object of the groundtruth is of one of the 2 categories."


def test_nothing_but_crowds():
    tables = perfect()
    crowds = dataclasses.replace(tables.groundtruth, crowds=np.ones_like(tables.groundtruth.crowds))
    assert "has nothing but crowds" in sentence(dataclasses.replace(tables, groundtruth=crowds))


def test_groundtruth_without_a_size():
    tables = perfect()
    large = tables.groundtruth.take(tables.groundtruth.areas_px > 96**2)
    assert findings(*scored(dataclasses.replace(tables, groundtruth=large))) == [
        "Average precision of small objects is -1: the groundtruth has none.",
        "Average precision of medium objects is -1: the groundtruth has none.",
    ]


def test_detections_that_find_none_of_a_size():
    tables = perfect()
    tables = dataclasses.replace(tables, results=tables.results.take(tables.groundtruth.areas_px > 32**2))
    assert sentence(tables) == (
        "Average precision of small objects is 0: no detection of their category reaches an IoU of 0.5."
    )


def test_no_detection():
    tables = perfect()
    tables = dataclasses.replace(tables, results=tables.results.take(np.array([], int)))
    assert sentence(tables).startswith(
        "Average precision is 0.000: there is no detection above the score threshold at all"
    )


def test_no_category_in_common():
    tables = perfect()
    found = sentence(changed(tables, category_ids=tables.results.category_ids + 1))
    assert "share no category id (detections have 2, 4, 6, 8, 10, ..., the groundtruth has 1, 3, 5, 7, 9, ...)" in found


def test_no_image_in_common():
    tables = perfect()
    empty = int(tables.image_ids.max()) + 1
    found = changed(tables, image_ids=np.full_like(tables.results.image_ids, empty))
    found = dataclasses.replace(
        found, image_ids=np.append(found.image_ids, empty), sizes_px=np.append(found.sizes_px, [[480, 640]], axis=0)
    )
    assert "no image that has detections has groundtruth" in sentence(found)


def test_swapped_coordinates():
    tables = perfect()
    x, y, width, height = (tables.results.boxes_px / sides(tables)).T
    swapped = np.stack([y, x, height, width], axis=1)
    assert "match when x and y are swapped before" in sentence(changed(tables, boxes_px=swapped * sides(tables)))


def test_relative_boxes_where_pixels_are_meant():
    tables = perfect()
    found = sentence(changed(tables, boxes_px=tables.results.boxes_px / sides(tables)))
    assert "match when multiplied by the image's sides: they are relative" in found


def test_pixels_where_relative_boxes_are_meant():
    tables = perfect()
    found = sentence(changed(tables, boxes_px=tables.results.boxes_px * sides(tables)))
    assert "match when divided by the image's sides: they are in pixels" in found


ORDERS = {
    "[y, x, height, width]": lambda x, y, width, height: [y, x, height, width],
    "[xmin, ymin, xmax, ymax]": lambda x, y, width, height: [x, y, x + width, y + height],
    "[ymin, xmin, ymax, xmax]": lambda x, y, width, height: [y, x, y + height, x + width],
    "[xcenter, ycenter, width, height]": lambda x, y, width, height: [x + width / 2, y + height / 2, width, height],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("relative", [False, True], ids=["pixels", "fractions"])
def test_boxes_in_another_order(order, relative):
    tables = perfect()
    boxes = tables.results.boxes_px / (sides(tables) if relative else 1)
    found = findings(*scored(changed(tables, boxes_px=np.stack(ORDERS[order](*boxes.T), axis=1))))[0]
    ending = " and multiplied by the image's sides: they must be in pixels" if relative else ": they must be [x, y,"
    assert f"boxes match when read as {order}{ending}" in found


@pytest.mark.parametrize(("shift", "change"), [(-1, "added to"), (1, "subtracted from")])
def test_category_ids_that_begin_elsewhere(shift, change):
    tables = perfect()
    found = findings(*scored(changed(tables, category_ids=tables.results.category_ids + shift)))[0]
    assert f"boxes match when 1 is {change} each category id: check where the ids begin" in found


@pytest.mark.parametrize("first", [0, 1])
def test_categories_numbered_without_gaps(first):
    tables = perfect()
    places = np.searchsorted(sorted(tables.categories), tables.results.category_ids) + first
    objects = dataclasses.replace(tables.groundtruth, category_ids=tables.groundtruth.category_ids + 50)
    names = {category + 50: name for category, name in tables.categories.items()}
    tables = dataclasses.replace(tables, groundtruth=objects, categories=names)
    found = findings(*scored(changed(tables, category_ids=places)))[0]
    assert f"read as places among the groundtruth's, counted from {first}" in found


def test_detections_of_some_unknown_categories():
    tables = perfect(objects=15)
    ids = tables.results.category_ids.copy()
    ids[:3] = [200, 100, 100]
    assert sentence(changed(tables, category_ids=ids)).startswith(f"3 of {len(ids)} detections do not count: ")


def test_a_label_map_that_is_off_by_one():
    tables = perfect()
    categories = sorted(tables.categories)
    following = dict(zip(categories, categories[1:] + categories[:1], strict=True))
    shifted = np.array([following[c] for c in tables.results.category_ids.tolist()])
    assert "match objects of other categories" in sentence(changed(tables, category_ids=shifted))


def test_sizes_of_images_that_are_not_known_are_no_error():
    tables = perfect()
    unknown = dataclasses.replace(tables, sizes_px=np.full_like(tables.sizes_px, np.nan))
    found = sentence(changed(unknown, boxes_px=tables.results.boxes_px + 1e5))
    assert (
        found
        == "Average precision is 0.000: no detection overlaps an object of its category with an IoU of at least 0.5."
    )
