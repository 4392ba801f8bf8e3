"""Formats of boxes are recognized from real and drawn boxes; files in COCO's own format never pass for another."""

import numpy as np
import pytest

from object_detection.coco.annotations import read_coco
from object_detection.coco.box_evidence import evidence
from object_detection.coco.box_formats import COCO, FORMATS
from tests.object_detection.coco_problems import SIDES_PX, random_box


def written_as(name, boxes, sizes):
    """Boxes ``[x, y, width, height]`` in pixels, written in a format; ``sizes`` are heights and widths."""
    x, y, width, height = boxes.T
    shape, _, unit = name.partition("_")
    columns = {
        "xywh": (x, y, width, height),
        "xyxy": (x, y, x + width, y + height),
        "yxyx": (y, x, y + height, x + width),
        "cxcywh": (x + width / 2, y + height / 2, width, height),
    }[shape]
    order = [0, 1, 0, 1] if shape == "yxyx" else [1, 0, 1, 0]
    side = {"": sizes[:, order], "fractions": 1.0, "percent": 100.0}[unit]
    return np.stack(columns, axis=1) / sizes[:, order] * side


def names(found):
    """The names of the formats that the evidence speaks for; both orders of corners are the same but in pixels."""
    return {one.name for one in found.equals} - {"yxyx_fractions", "yxyx_percent"}


def drawn(seed, count):
    """Boxes of any size in images of several sizes."""
    random = np.random.default_rng(seed)
    sizes = np.array([SIDES_PX[i] for i in random.integers(len(SIDES_PX), size=count)], float)
    return np.array([random_box(random, *size) for size in sizes]), sizes


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_recognized_and_read_back(name):
    boxes, sizes = drawn(1, 60)
    found = evidence(written_as(name, boxes, sizes), sizes)
    assert (names(found), found.misfits[name]) == ({name.replace("yxyx_", "xyxy_")}, 0)
    assert name in {one.name for one in found.equals}
    written = written_as(name, boxes, sizes)[0].tolist()
    x, y, width, height = boxes[0]
    assert FORMATS[name].corners_px(written, *sizes[0]) == pytest.approx((x, y, x + width, y + height))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_boxes_are_recognized_in_each_format(sample_data, split, name):
    file = read_coco(sample_data / "bccd" / "annotations" / f"instances_{split}.json")
    sizes_of = {image.id: (image.height, image.width) for image in file.images}
    boxes = np.array([one.box_px for one in file.annotations])
    sizes = np.array([sizes_of[one.image_id] for one in file.annotations], float)
    assert names(evidence(written_as(name, boxes, sizes), sizes)) == {name.replace("yxyx_", "xyxy_")}


def sloppy(random, boxes, sizes):
    """Ordinary faults: some boxes beyond an edge, some without area, some not finite, some placeholders of zeros."""
    boxes = boxes.copy()
    for rows, change in (
        (random.random(len(boxes)) < 0.2, lambda some: some + random.uniform(-40, 40, some.shape) * [1, 1, 0, 0]),
        (random.random(len(boxes)) < 0.1, lambda some: some * [1, 1, 0, 1]),
        (random.random(len(boxes)) < 0.05, lambda some: some * np.nan),
        (random.random(len(boxes)) < 0.3, lambda some: some * 0),
    ):
        boxes[rows] = change(boxes[rows])
    return boxes, sizes


def amodal(random, boxes, sizes):
    """Boxes of whole objects of which the image shows a part, at every edge."""
    center = random.uniform(0, 1, (len(boxes), 2)) * sizes[:, ::-1]
    sides = random.uniform(0.05, 0.8, (len(boxes), 2)) * sizes[:, ::-1]
    return np.concatenate([center - sides / 2, sides], axis=1), sizes


def tiny(random, boxes, sizes):
    """Boxes of one to four pixels, some of them less."""
    sides = random.uniform(0.6, 4, (len(boxes), 2))
    return np.concatenate([random.uniform(0, 1, (len(boxes), 2)) * (sizes[:, ::-1] - sides), sides], axis=1), sizes


def filling(random, boxes, sizes):
    """Boxes of objects that fill their images, counted from 1 and up to two pixels too long."""
    boxes = np.concatenate([np.ones_like(sizes), sizes[:, ::-1] + random.uniform(-20, 1, sizes.shape)], axis=1)
    return boxes, sizes


def swapped_sizes(random, boxes, sizes):
    """Entries with height and width exchanged."""
    return boxes, sizes[:, ::-1]


def other_sizes(random, boxes, sizes):
    """Entries with the size of smaller copies of the images."""
    return boxes, sizes / 2


def unknown_sizes(random, boxes, sizes):
    """Entries without sizes."""
    return boxes, sizes * np.nan


def in_a_corner(random, boxes, sizes):
    """Small objects that all images show in their upper left corner."""
    return random.uniform(0, 40, boxes.shape), sizes


KINDS = (lambda _, *both: both, sloppy, amodal, tiny, filling, swapped_sizes, other_sizes, unknown_sizes, in_a_corner)


@pytest.mark.parametrize("kind", KINDS, ids=["sound", *(kind.__name__ for kind in KINDS[1:])])
def test_files_in_cocos_own_format_are_never_taken_for_another(kind):
    for seed in range(60):
        random = np.random.default_rng(seed)
        boxes, sizes = kind(random, *drawn(seed, int(random.choice([1, 2, 3, 10, 40, 200]))))
        found = evidence(boxes, sizes)
        assert found.format == COCO, (seed, found)


def test_percentages_of_few_boxes_or_small_images_are_boxes_in_pixels():
    boxes, sizes = drawn(3, 60)
    percentages = written_as("xywh_percent", boxes, sizes)
    assert evidence(percentages[:19], sizes[:19]).format == COCO
    assert evidence(percentages, np.full_like(sizes, 199)).format == COCO
    percentages[7, 0] = 102
    assert evidence(percentages, sizes).format == COCO


def test_percentages_are_named_with_what_speaks_for_them():
    boxes, sizes = drawn(3, 60)
    sentence = evidence(written_as("cxcywh_percent", boxes, sizes), sizes).sentence()
    assert sentence.startswith("its boxes seem to be center x, center y, width, height in percent of the image, not x,")
    assert "read as xywh, all lie within 100 pixels of a corner of their far larger images" in sentence
    assert "cxcywh_percent 0" in sentence
    assert "xyxy 0" not in sentence


def test_no_boxes_and_boxes_of_zeros_prove_nothing():
    for boxes in (np.zeros([0, 4]), np.zeros([9, 4]), np.full([9, 4], np.nan), np.full([2, 4], 1e300)):
        assert evidence(boxes, np.full([len(boxes), 2], 100.0)).format == COCO


def test_the_evidence_names_both_formats_and_every_count():
    boxes, sizes = drawn(2, 30)
    sentence = evidence(written_as("xyxy", boxes, sizes), sizes).sentence()
    assert "left, top, right, bottom in pixels, not x, y, width, height in pixels; of 30 boxes" in sentence
    assert "xyxy 0," in sentence
    assert all(name in sentence for name in FORMATS if not name.endswith("_percent"))
