"""Sheets of images with objects show each box at its object, and the matched anchors."""

import numpy as np
import pytest
from PIL import Image

from object_detection.boxes.anchors import pyramid_anchors
from object_detection.drawing import class_color
from tests.runtime.scenes import CHANNEL, NAMES, scene, write_scenes
from tests.tools.inspect.inspecting import inspect
from tools.inspect.anchor_pictures import best_overlaps, draw_anchors
from utils.detection_config import AnchorSpec

SIDE, SHOWN = 96, 480  # pixels of the network's input and on a sheet
FLAGS = (f"--image_size={SIDE}", "--batch_size=4", "--images=8", "--seed=2", "--no_color_jitter")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("objects") / "data")


@pytest.fixture(scope="module")
def seen(data, tmp_path_factory):
    done = inspect(data, tmp_path_factory.mktemp("objects") / "sheets", *FLAGS)
    assert done.status == 0, done.error
    return done


def is_object(pixels, category):
    """Returns, for each pixel, whether it has the color of an object of this class."""
    channel = CHANNEL[category]
    others = [c for c in range(3) if c != channel]
    return (pixels[..., channel] > 180) & (pixels[..., others].max(axis=-1) < 80)


def overlaps(boxes, anchors):
    """A second implementation of intersection over union, in float64."""
    boxes, anchors = np.asarray(boxes, float)[:, np.newaxis], np.asarray(anchors, float)[np.newaxis]
    sides = np.minimum(boxes[..., 2:], anchors[..., 2:]) - np.maximum(boxes[..., :2], anchors[..., :2])
    shared = np.clip(sides, 0, None).prod(axis=-1)
    areas = [(b[..., 2:] - b[..., :2]).prod(axis=-1) for b in (boxes, anchors)]
    return shared / (areas[0] + areas[1] - shared)


def anchors_of():
    return pyramid_anchors(SIDE, SIDE, AnchorSpec())


@pytest.mark.slow
def test_all_pictures_are_there_and_none_is_blank(seen):
    pictures = {path.name for path in seen.folder.iterdir()} - {"inspect.json"}
    assert pictures == {
        *("raw.png", "augmented.png", "evaluated.png", "matched_anchors.png"),
        *("classes.png", "boxes.png", "learning_rate.png"),
    }
    for name in pictures:
        assert seen.pixels(name).std() > 10, name


@pytest.mark.parametrize(("name", "first"), [("raw.png", 0), ("evaluated.png", 1000)])
def test_the_boxes_of_whole_images_are_those_that_were_drawn_into_them(seen, name, first):
    for _, facts in seen.cells(name):
        things = scene(first + facts["index"])
        assert [(*one["box_px"], one["category_id"], one["name"]) for one in facts["objects"]] == [
            (*map(float, thing[:4]), thing.category, NAMES[CHANNEL[thing.category]]) for thing in things
        ]


@pytest.mark.parametrize("name", ["raw.png", "augmented.png", "evaluated.png"])
def test_frames_are_where_the_objects_are(seen, name):
    """The sides of each frame have the color of its class; the object's color fills the inside and ends there.

    Checks most of the lower half of each side, where no name is drawn except those of other objects.
    """
    scale, edges = SHOWN // SIDE, 0
    for pixels, facts in seen.cells(name):
        assert pixels.shape == (SHOWN, SHOWN, 3)
        assert len(facts["objects"]) == len(scene(facts["index"] + 1000 * (name == "evaluated.png")))
        for one in facts["objects"]:
            top, left, bottom, right = (round(side * scale) for side in one["box_px"])
            color, category = class_color(one["category_id"]), one["category_id"]
            rows = slice((top + bottom) // 2, bottom)
            for column, inwards in ((left, 1), (right - 1, -1)):
                within, without = column + inwards * min(12, (right - left) // 2), column - inwards * 12
                assert (pixels[rows, column] == color).all(axis=-1).mean() > 0.5
                assert is_object(pixels[rows, within], category).mean() > 0.5
                if 0 <= without < SHOWN:
                    assert not is_object(pixels[rows, without], category).any()
                    edges += 1
    assert edges > 10


def test_augmentation_has_moved_boxes(seen):
    moved = [
        one["box_px"] != [float(side) for side in thing[:4]]
        for _, facts in seen.cells("augmented.png")
        for one, thing in zip(facts["objects"], scene(facts["index"]), strict=True)
    ]
    assert any(moved)


def test_anchors_are_counted_as_the_rule_says(seen):
    anchors = anchors_of()
    for _, facts in seen.cells("augmented.png"):
        boxes = np.array([one["box_px"] for one in facts["objects"]]) / SIDE
        shared = overlaps(boxes, anchors)
        owner = np.where(shared.max(axis=0) >= 0.5, shared.argmax(axis=0), -1)
        for row in reversed(range(len(boxes))):
            owner[shared[row].argmax()] = row
        assert [one["anchors"] for one in facts["objects"]] == [int((owner == row).sum()) for row in range(len(boxes))]
        assert all(one["note"] == "" for one in facts["objects"])


def test_matched_anchors_are_drawn_over_the_same_images(seen):
    augmented = seen.cells("augmented.png")
    for (pixels, facts), (_, other) in zip(seen.cells("matched_anchors.png"), augmented, strict=True):
        assert facts["index"] == other["index"]
        assert facts["anchors"] == sum(one["anchors"] for one in other["objects"])
        for one in other["objects"]:
            assert (pixels == class_color(one["category_id"])).all(axis=-1).sum() > 100


def test_an_anchor_is_a_frame_and_its_middle_on_a_darker_picture():
    picture = Image.new("RGB", (200, 100), (100, 100, 100))
    drawn = np.asarray(draw_anchors(picture, np.array([[0.2, 0.1, 0.8, 0.5]]), [5]))
    color = class_color(5)
    for row, column in ((20, 20), (79, 99), (20, 99), (79, 20), (50, 60)):
        assert tuple(drawn[row, column]) == color
    assert tuple(drawn[50, 30]) == tuple(drawn[5, 5]) == (55, 55, 55)


def test_the_share_of_uncovered_boxes_is_that_of_a_second_implementation(seen):
    boxes = np.array([thing[:4] for number in range(10) for thing in scene(number)], float) / SIDE
    best = overlaps(boxes, anchors_of()).max(axis=1)
    assert best_overlaps(boxes.astype(np.float32), anchors_of()) == pytest.approx(best, abs=1e-5)
    facts = seen.facts["boxes"]
    assert 0 < facts["covered_by_no_anchor"] < 1
    assert facts["covered_by_no_anchor"] == pytest.approx((best < 0.5).mean(), abs=1e-6)
    roots = np.sqrt(((boxes[:, 2:] - boxes[:, :2]) * SIDE).prod(axis=1))
    assert facts["by_size"]["small"]["boxes"] == (roots < 32).sum()
    assert facts["quantiles"]["root_of_area_px"][3] == pytest.approx(np.median(roots), abs=1e-3)
    assert f"{100 * facts['covered_by_no_anchor']:.1f} % of {len(boxes)} boxes" in seen.output


def test_objects_are_counted(seen):
    for split, first, images in (("train", 0, 10), ("validation", 1000, 6)):
        things = [thing for number in range(first, first + images) for thing in scene(number)]
        assert seen.facts["splits"][split]["objects"] == len(things)
        for row in seen.facts["classes"]:
            assert row[split] == sum(thing.category == row["category_id"] for thing in things)


def test_the_learning_rate_of_a_detector_begins_above_zero(seen):
    rates = seen.facts["learning_rate"]
    assert (rates["total_steps"], rates["warmup_steps"]) == (27 * 2, 4)
    assert rates["peak"] == pytest.approx(0.16 * 4 / 256)
    assert rates["steps"][0]["learning_rate"] == pytest.approx(0.43332 * rates["peak"])


@pytest.mark.slow
def test_dali_shows_the_same_boxes(data, tmp_path, seen):
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed (requirements/dali.txt)")
    done = inspect(data, tmp_path, *FLAGS, "--dali", "--arch=ssd320")
    assert done.status == 0, done.error
    for name in ("augmented.png", "evaluated.png"):
        for (pixels, facts), (other, others) in zip(done.cells(name), seen.cells(name), strict=True):
            assert facts == others
            assert np.abs(pixels.astype(float) - other).mean() < 1


@pytest.mark.parametrize(
    "flags",
    [("--rotate90", "--vertical_flip", "--scale_jitter=0.5:1.6", "--min_visible=0.3"), ("--mosaic=1", "--rotate90")],
    ids=["turned and scaled", "mosaics"],
)
def test_sheets_show_boxes_where_the_augmentation_has_put_the_objects(data, tmp_path, seen, flags):
    done = inspect(data, tmp_path, *FLAGS, "--arch=ssd320", *flags)
    assert done.status == 0, done.error
    scale, shown = SHOWN // SIDE, 0
    for (pixels, facts), (other, others) in zip(done.cells("augmented.png"), seen.cells("augmented.png"), strict=True):
        assert facts["index"] == others["index"]
        assert not np.array_equal(pixels, other)
        for one in facts["objects"]:
            top, left, bottom, right = (round(side * scale) for side in one["box_px"])
            if min(bottom - top, right - left) < 50:  # frame and name cover the most of it
                continue
            assert is_object(pixels[top:bottom, left:right], one["category_id"]).mean() > 0.4, one
            shown += 1
    assert shown >= 6


@pytest.mark.slow
def test_frames_are_where_the_objects_are_in_an_input_with_a_border(tmp_path):
    """Scenes of 96 x 160 pixels take 77 x 128 of 96 x 128; objects have the color of their class inside the frames."""
    data = write_scenes(tmp_path / "data", train=4, validation=2, width=160)
    flags = ("--image_size=96x128", "--resize=pad", "--batch_size=2", "--images=4", "--seed=2", "--no_color_jitter")
    done = inspect(data, tmp_path / "sheets", "--arch=ssd320", *flags)
    assert done.status == 0, done.error
    for name in ("augmented.png", "evaluated.png"):
        for pixels, facts in done.cells(name):
            scale = pixels.shape[1] / 128
            assert pixels.shape[0] == 96 * scale
            for one in facts["objects"]:
                top, left, bottom, right = (round(side * scale) for side in one["box_px"])
                inside = is_object(pixels, one["category_id"])[(top + bottom) // 2 : bottom - 6, left + 6 : right - 6]
                assert not inside.size or inside.mean() > 0.7  # a crop may leave a sliver
    for _, facts in done.cells("evaluated.png"):
        for one, thing in zip(facts["objects"], scene(facts["index"] + 1000), strict=True):
            sides = np.array([thing[0] * 77 / 96, thing[1] * 0.8, thing[2] * 77 / 96, thing[3] * 0.8])
            np.testing.assert_allclose(one["box_px"], sides, atol=0.01)
    assert done.facts["image_size"] == done.facts["boxes"]["image_size"] == [96, 128]
    boxes = np.array([thing[:4] for number in range(4) for thing in scene(number)], float)
    roots = np.sqrt((boxes[:, 2] - boxes[:, 0]) * 77 / 96 * (boxes[:, 3] - boxes[:, 1]) * 0.8)
    assert done.facts["boxes"]["quantiles"]["root_of_area_px"][3] == pytest.approx(np.median(roots), abs=1e-3)
    assert "96x128 px" in done.output
