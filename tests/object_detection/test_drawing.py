import itertools
import json

import numpy as np
import pytest
from PIL import Image

from object_detection.drawing import class_color, draw_detections

GRAY = (128, 128, 128)


def blank(width, height, color=GRAY):
    return Image.new("RGB", (width, height), color)


def changed(before, after):
    """Returns a mask of the pixels that differ, [height, width]."""
    return (np.asarray(before) != np.asarray(after)).any(axis=2)


def pixels_of(picture, color):
    """Returns rows and columns of the pixels of a color."""
    return np.nonzero((np.asarray(picture) == color).all(axis=2))


def test_the_edges_of_a_box_have_the_color_of_its_class_and_the_rest_stays():
    image = blank(400, 300)
    drawn = draw_detections(image, np.array([[0.5, 0.25, 0.9, 0.75]]), ["cat"], classes=[3])
    assert (drawn.size, drawn.mode) == ((400, 300), "RGB")
    top, left, bottom, right = 150, 100, 269, 299
    for place in [
        (left, top),
        (right, top),
        (left, bottom),
        (right, bottom),
        (200, top),
        (200, bottom),
        (left, 200),
        (right, 200),
    ]:
        assert drawn.getpixel(place) == class_color(3), place
    assert drawn.getpixel((200, 200)) == GRAY, "the inside stays"
    assert not changed(image, drawn)[280:].any()
    assert not changed(image, drawn)[:, :90].any()
    assert drawn.getpixel((left + 4, top - 4)) in {class_color(3), (0, 0, 0), (255, 255, 255)}, "the label stands above"


def test_the_original_stays_as_it_was():
    image = blank(100, 80)
    before = image.tobytes()
    drawn = draw_detections(image, np.array([[0.1, 0.1, 0.9, 0.9]]), ["dog"], [0.5], classes=[0])
    assert image.tobytes() == before
    assert drawn.tobytes() != before
    assert draw_detections(image, np.zeros([0, 4]), [], classes=[]).tobytes() == before
    assert draw_detections(image, np.zeros([0, 4]), [], classes=[]) is not image


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), class_color(4)])
def test_a_box_stands_out_from_any_background(color):
    image = blank(300, 300, color)
    drawn = np.asarray(draw_detections(image, np.array([[0.4, 0.2, 0.8, 0.8]]), [""], classes=[4]), int)
    along = np.abs(drawn[200, 50:70] - color).max(axis=1)
    assert along.max() > 100


@pytest.mark.parametrize("size", [(16, 16), (16, 4000), (4000, 16), (1, 1), (33, 50), (320, 240), (4000, 3000)])
def test_pictures_of_all_sizes(size):
    image = blank(*size)
    boxes = np.array([[0, 0, 1, 1], [0.2, 0.3, 0.4, 0.9], [0.5, 0.5, 0.5, 0.5], [0.99, 0.99, 1, 1]])
    drawn = draw_detections(
        image, boxes, ["first", "second", "third", "fourth"], [0.9, 0.8, 0.7, 0.6], classes=range(4)
    )
    assert drawn.size == size
    assert changed(image, drawn).any()


def test_lines_and_letters_grow_with_the_picture():
    box, heights, lines = np.array([[0.5, 0.5, 0.75, 0.75]]), [], []
    for side in (200, 800, 3200):
        drawn = draw_detections(blank(side, side), box, ["name"], classes=[2])
        rows, _ = pixels_of(drawn, class_color(2))
        heights.append(side // 2 - rows.min())
        column = np.asarray(drawn)[:, round(side * 0.7)]
        lines.append((column[side // 2 :] == class_color(2)).all(axis=1).sum())
    assert heights[0] < heights[1] < heights[2]
    assert lines == [2, 6, 26]  # of two edges


def label_of(name, number, side):
    """Returns the label of a box in the middle of a picture of that side, [height, width, 3]."""
    wide = draw_detections(blank(3 * side, side), np.array([[0.6, 0.5, 0.61, 0.501]]), [name], classes=[number])
    rows, columns = pixels_of(wide, class_color(number))
    above = rows < round(0.6 * side) - 2
    rows, columns = rows[above], columns[above]
    return np.asarray(wide)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def has(picture, part):
    """Returns whether the picture contains exactly these pixels somewhere."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(picture), part.shape)[:, :, 0]
    return any((window == part).all() for row in windows for window in row if (window[0] == part[0]).all())


@pytest.mark.parametrize(
    "box", [(0, 0, 0.1, 0.1), (0, 0.9, 0.1, 1), (0.9, 0, 1, 0.1), (0.9, 0.9, 1, 1), (0, 0, 1, 1), (-1, -1, 2, 2)]
)
def test_labels_are_whole_wherever_the_box_is(box):
    picture = draw_detections(blank(160, 160), np.array([box]), ["name"], classes=[5])
    assert has(picture, label_of("name", 5, 160))
    assert not has(picture, label_of("nome", 5, 160))


@pytest.mark.parametrize(
    "name",
    ["", "日本語", "Ärger", "a\nb\tc", "\ud800", "\u202eabc", "🐈‍⬛", "x" * 5000, "W" * 60, "…", "  "],
    ids=ascii,
)
def test_any_name_can_be_written(name):
    image = blank(120, 90)
    drawn = draw_detections(image, np.array([[0.4, 0.2, 0.8, 0.8]]), [name], [0.5], classes=[1])
    assert drawn.size == image.size


def test_accents_are_left_away_and_not_the_letters():
    box = np.array([[0.4, 0.2, 0.8, 0.8]])
    pictures = [
        draw_detections(blank(200, 100), box, [name], classes=[1]).tobytes() for name in ("Élan vital", "Elan\nvital")
    ]
    assert pictures[0] == pictures[1]
    assert draw_detections(blank(200, 100), box, ["?lan vital"], classes=[1]).tobytes() != pictures[0]


def test_a_name_that_is_too_long_is_shortened_and_its_score_is_not():
    box = np.array([[0.4, 0.0, 0.8, 0.9]])
    pictures = [
        draw_detections(blank(100, 100), box, [name], [score], classes=[1]).tobytes()
        for name, score in (("word " * 20, 0.25), ("word " * 20, 0.75), ("word " * 25, 0.25))
    ]
    assert pictures[0] != pictures[1]
    assert pictures[0] == pictures[2]


def test_labels_of_neighbours_do_not_cover_each_other_where_there_is_room():
    boxes = np.array([[0.5, 0.3, 0.9, 0.6], [0.5, 0.32, 0.9, 0.62], [0.51, 0.31, 0.9, 0.62]])
    picture = draw_detections(blank(160, 160), boxes, ["a", "b", "c"], classes=[0, 1, 2])
    assert [has(picture, label_of(name, number, 160)) for number, name in enumerate("abc")] == [True] * 3


def test_what_comes_first_is_on_top():
    boxes = np.array([[0.2, 0.2, 0.8, 0.8]] * 2)
    drawn = draw_detections(blank(400, 400), boxes, ["", ""], classes=[1, 2])
    assert drawn.getpixel((80, 200)) == class_color(1)


def test_boxes_outside_of_the_picture_are_not_drawn():
    image = blank(100, 100)
    boxes = np.array([[1.1, 0, 1.5, 0.5], [-1, -1, 0, 0], [0.2, 1.0, 0.5, 1.5]])
    assert not changed(image, draw_detections(image, boxes, ["a", "b", "c"], classes=[1, 2, 3])).any()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "I;16"])
def test_pictures_of_all_modes(mode):
    drawn = draw_detections(Image.new(mode, (64, 64)), np.array([[0.5, 0.1, 0.9, 0.9]]), ["a"], classes=[3])
    assert drawn.mode == "RGB"
    assert drawn.getpixel((6, 45)) == class_color(3)


def test_colors_of_classes_are_stable_and_differ():
    colors = [class_color(number) for number in range(91)]
    assert colors[:3] == [(255, 0, 0), (48, 90, 191), (202, 255, 128)]
    distances = [np.abs(np.subtract(a, b)).max() for a, b in itertools.combinations(colors, 2)]
    assert min(distances) >= 8
    assert min(np.abs(np.subtract(a, b)).max() for a, b in itertools.combinations(colors[:10], 2)) >= 40


@pytest.mark.parametrize(
    ("boxes", "names", "scores", "classes"),
    [
        (np.zeros([2, 4]), ["a"], None, [1, 1]),
        (np.zeros([1, 4]), ["a"], [0.5, 0.5], [1]),
        (np.zeros([1, 4]), ["a"], None, []),
        (np.full([1, 4], np.nan), ["a"], None, [1]),
    ],
)
def test_what_does_not_fit_together_is_refused(boxes, names, scores, classes):
    with pytest.raises(ValueError, match=r"boxes|finite"):
        draw_detections(blank(10, 10), boxes, names, scores, classes=classes)


def test_a_photograph_with_its_groundtruth(sample_data):
    folder = sample_data / "bccd"
    if not folder.is_dir():
        pytest.skip(f"no bccd in {sample_data} (SAMPLE_DATA)")
    groundtruth = json.loads((folder / "annotations" / "instances_val.json").read_text())
    entry = groundtruth["images"][0]
    image = Image.open(folder / "images" / "val" / entry["file_name"])
    objects = [a for a in groundtruth["annotations"] if a["image_id"] == entry["id"]]
    scale = np.array([image.height, image.width] * 2)
    boxes = np.array([(y, x, y + h, x + w) for x, y, w, h in (a["bbox"] for a in objects)]) / scale
    names = {category["id"]: category["name"] for category in groundtruth["categories"]}
    classes = [a["category_id"] for a in objects]
    drawn = draw_detections(image, boxes, [names[c] for c in classes], classes=classes)
    for number in set(classes):
        assert len(pixels_of(drawn, class_color(number))[0]) > 100
    assert changed(image.convert("RGB"), drawn).mean() < 0.5
