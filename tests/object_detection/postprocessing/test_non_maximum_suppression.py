import numpy as np
import pytest
import tensorflow as tf

from object_detection.postprocessing.non_maximum_suppression import Detections, postprocess
from tests.object_detection.evaluate import evaluate
from utils.detection_config import PostProcessingSpec

BOXES = [
    (0, 0, 1, 1),
    (0, 0.1, 1, 1.1),
    (0, -0.1, 1, 0.9),
    (0, 10, 1, 11),
    (0, 10.1, 1, 11.1),
    (0, 100, 1, 101),
    (0, 1000, 1, 1002),
    (0, 1000, 1, 1002.1),
]
SCORES = [(0.9, 0.01), (0.75, 0.05), (0.6, 0.01), (0.95, 0), (0.5, 0.01), (0.3, 0.01), (0.01, 0.85), (0.01, 0.5)]
CANDIDATES = [None, 1000]


def spec(**fields):
    return PostProcessingSpec(**{"score_threshold": 0.1, "iou_threshold": 0.5, "candidates": None, **fields})


def logits_of(scores):
    scores = np.asarray(scores, np.float64)
    with np.errstate(divide="ignore"):
        return (np.log(scores) - np.log1p(-scores)).astype(np.float32)


def in_window(boxes, window):
    """Converts boxes to coordinates in which the window is the unit square, which keeps overlaps."""
    ymin, xmin, ymax, xmax = window
    return (np.asarray(boxes, np.float64) - [ymin, xmin, ymin, xmin]) / np.tile([ymax - ymin, xmax - xmin], 2)


def run(boxes, logits, rules, **device):
    """Returns the detections of a batch as arrays."""
    boxes, logits = np.asarray(boxes, np.float32), np.asarray(logits, np.float32)

    def build():
        placeholders = (tf.compat.v1.placeholder_with_default(a, [None, *a.shape[1:]]) for a in (boxes, logits))
        return postprocess(*placeholders, rules, **device)

    return Detections(*evaluate(build))


def found(boxes, scores, rules, window=(0, 0, 2000, 2000)):
    """Returns (box in the window's coordinates, score, class) for each detection of one image."""
    result = run([in_window(boxes, window)], [logits_of(scores)], rules)
    (count,) = result.count
    for rows in result[:3]:
        assert not rows[0, count:].any()
    ymin, xmin, ymax, xmax = window
    boxes = result.boxes[0] * np.tile([ymax - ymin, xmax - xmin], 2) + [ymin, xmin, ymin, xmin]
    rows = zip(boxes[:count], result.scores[0, :count], result.classes[0, :count], strict=True)
    return [(tuple(np.round(box, 3).tolist()), round(float(score), 5), int(label)) for box, score, label in rows]


@pytest.mark.parametrize("candidates", CANDIDATES)
@pytest.mark.parametrize(
    ("per_class", "total", "expected"),
    [
        (4, 4, [(3, 0.95, 0), (0, 0.9, 0), (6, 0.85, 1), (5, 0.3, 0)]),
        (2, 4, [(3, 0.95, 0), (0, 0.9, 0), (6, 0.85, 1)]),
        (2, 2, [(3, 0.95, 0), (0, 0.9, 0)]),
        (1, 4, [(3, 0.95, 0), (6, 0.85, 1)]),
    ],
)
def test_the_best_of_each_class_that_overlap_little(per_class, total, expected, candidates):
    rules = spec(max_detections_per_class=per_class, max_total_detections=total, candidates=candidates)
    assert found(BOXES, SCORES, rules) == [(BOXES[box], score, label) for box, score, label in expected]


@pytest.mark.parametrize("candidates", CANDIDATES)
def test_of_one_class(candidates):
    rules = spec(max_detections_per_class=3, candidates=candidates)
    detections = found(BOXES, [row[:1] for row in SCORES], rules)
    assert [BOXES.index(box) for box, _, _ in detections] == [3, 0, 5]


@pytest.mark.parametrize("candidates", [*CANDIDATES, 3])
def test_of_identical_boxes_one_remains(candidates):
    rules = spec(max_detections_per_class=3, candidates=candidates)
    assert found([(0, 0, 1, 1)] * 10, [[0.9]] * 10, rules) == [((0, 0, 1, 1), 0.9, 0)]


@pytest.mark.parametrize("candidates", CANDIDATES)
def test_suppression_sees_boxes_before_they_are_cut(candidates):
    boxes, window = [(0, 0, 10, 10), (1, 1, 11, 11)], (5, 4, 8, 7)
    rules = spec(score_threshold=0.0, candidates=candidates)
    assert found(boxes, [[0.9], [0.75]], rules, window) == [((5, 4, 8, 7), 0.9, 0)]


@pytest.mark.parametrize("candidates", CANDIDATES)
@pytest.mark.parametrize(
    ("windows", "counts"), [([(0, 0, 2000, 2000)] * 2, [2, 3]), ([(0, 0, 200, 200)] * 2, [2, 2]),
                            ([(0, 0, 5, 5), (0, 0, 200, 200)], [1, 2])]
)  # fmt: skip
def test_a_batch_of_two_images_whose_classes_have_boxes_of_their_own(windows, counts, candidates):
    own = [(0, 0, 4, 5), (0, 0.1, 2, 1.1), BOXES[2], BOXES[3], *BOXES[4:6], (0, 999, 2, 1004), (0, 999, 2, 1002.7)]
    # Each class's box has its own anchor.
    boxes = np.array([[first, second] for first, second in zip(BOXES, own, strict=True)]).reshape(2, 8, 4)
    scores = np.array([[(first, 0), (0, second)] for first, second in SCORES]).reshape(2, 8, 2)
    boxes = [in_window(image, window) for image, window in zip(boxes, windows, strict=True)]
    rules = spec(max_detections_per_class=4, max_total_detections=4, candidates=candidates)
    result = run(boxes, logits_of(scores), rules)
    assert result.count.tolist() == counts
    np.testing.assert_allclose(result.scores[1, :2], (0.85, 0.5) if counts[1] == 3 else (0.5, 0.3), rtol=1e-6)
    if counts == [2, 3]:
        np.testing.assert_allclose(result.scores[0, :2], [0.95, 0.9], rtol=1e-6)
        np.testing.assert_allclose(result.scores[1], [0.85, 0.5, 0.3, 0], rtol=1e-6)
        expected = np.array([(0, 999, 2, 1004), (0, 10.1, 1, 11.1), (0, 100, 1, 101), (0, 0, 0, 0)]) / 2000
        np.testing.assert_allclose(result.boxes[1], expected, atol=1e-6)
        assert result.classes.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    if counts[0] == 1:
        np.testing.assert_allclose(result.boxes[0, 0] * 5, BOXES[0], rtol=1e-6)


@pytest.mark.parametrize("candidates", CANDIDATES)
def test_both_thresholds_are_strict_and_a_box_without_area_is_suppressed_by_nothing(candidates):
    boxes = [(0, 0, 10, 10), (0, 0, 10, 6), (0, 0, 6, 10), (0, 2.5, 10, 12.5), (20, 20, 20, 30), (20, 20, 30, 30)]
    scores = [[0.9], [0.8], [0.7], [0.6], [0.5], [1e-8]]
    rules = spec(score_threshold=1e-8, iou_threshold=0.6, candidates=candidates)
    detections = found(boxes, scores, rules, (0, 0, 32, 32))
    assert [score for _, score, _ in detections] == [0.9, 0.8, 0.7, 0.6], "all but the score of the threshold"
    detections = found([(20, 20, 20, 30), (20, 20, 30, 30), (20, 20, 30, 30)], [[0.9], [0.8], [0.7]], rules)
    assert [score for _, score, _ in detections] == [0.8], "neither suppressed nor suppressing, and dropped at the end"


def oracle(boxes, logits, rules):
    """Returns (anchor, class) of each detection of an image, in plain Python, as the original is described."""
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    limit = -np.inf if rules.candidates is None else np.sort(scores, axis=None)[::-1][: rules.candidates][-1]
    kept = []
    for label in range(scores.shape[1]):
        mine = []
        for anchor in np.argsort(-scores[:, label], kind="stable"):
            score = scores[anchor, label]
            if not score > rules.score_threshold or score < limit or len(mine) == rules.max_detections_per_class:
                continue
            if all(overlap(boxes[anchor], boxes[other]) <= rules.iou_threshold for _, other in mine):
                mine.append((score, anchor))
        kept += [(score, anchor, label) for score, anchor in mine if area(np.clip(boxes[anchor], 0, 1)) > 0]
    kept.sort(key=lambda item: -item[0])
    return [(anchor, label) for _, anchor, label in kept[: rules.max_total_detections]]


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def overlap(first, second):
    height = min(first[2], second[2]) - max(first[0], second[0])
    width = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(height, 0) * max(width, 0)
    return shared / (area(first) + area(second) - shared) if shared else 0.0


def problem(seed, images=1, anchors=80, classes=5):
    """Draws random boxes, some of them beyond the image's edge, and random logits."""
    random = np.random.default_rng(seed)
    centers, halves = random.uniform(-0.2, 1.2, (images, anchors, 2)), random.uniform(0.02, 0.4, (images, anchors, 2))
    boxes = np.concatenate([centers - halves, centers + halves], axis=2).astype(np.float32)
    logits = random.normal(-2, 2, (images, anchors, classes)).astype(np.float32)
    return boxes, logits


RULES = [
    {},
    {"candidates": 60},
    {"candidates": 600},
    {"candidates": 5000},
    {"iou_threshold": 0.1, "max_detections_per_class": 7, "max_total_detections": 20},
    {"iou_threshold": 0.1, "max_detections_per_class": 7, "max_total_detections": 20, "candidates": 200},
    {"score_threshold": 0.5, "max_total_detections": 1000, "iou_threshold": 0.0},
    {"score_threshold": 0.5, "max_total_detections": 1000, "candidates": 100},
    {"iou_threshold": 1.0, "max_detections_per_class": 50, "candidates": 300},
]


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_random_problems_give_what_plain_python_gives(rules):
    rules, seeds = spec(**{"score_threshold": 1e-8, "iou_threshold": 0.6, **rules}), range(4)
    boxes, logits = (np.concatenate(parts) for parts in zip(*(problem(seed) for seed in seeds), strict=True))
    result = run(boxes, logits, rules)
    assert result.boxes.shape == (4, rules.max_total_detections, 4)
    for image in seeds:
        expected = oracle(boxes[image], logits[image], rules)
        count = result.count[image]
        assert count == len(expected) > 10
        anchors, labels = (list(part) for part in zip(*expected, strict=True))
        assert result.classes[image, :count].tolist() == labels
        np.testing.assert_array_equal(result.boxes[image, :count], np.clip(boxes[image, anchors], 0, 1))
        np.testing.assert_allclose(
            result.scores[image, :count], 1 / (1 + np.exp(-logits[image, anchors, labels])), atol=1e-6
        )
        assert not any(rows[image, count:].any() for rows in result[:3])


def chain(count):
    """Boxes of one class that hide only the next of them, which takes suppression by rounds the longest."""
    first = np.arange(count, dtype=np.float32)[:, np.newaxis] / (3 * count)
    boxes = np.concatenate([first, np.zeros_like(first), first + 1 / count, np.ones_like(first)], axis=1)
    return boxes[np.newaxis], -np.arange(count, dtype=np.float32)[np.newaxis, :, np.newaxis] / count


def on_a_grid(seed):
    """Draws boxes with corners on a coarse grid, some without area, reversed, endless or NaN, and logits with ties."""
    random = np.random.default_rng(seed)
    corners = random.integers(-1, 7, (6, 90, 2, 2)).astype(np.float32) / 5
    corners[:3].sort(axis=2)
    boxes = corners.reshape(6, 90, 4)
    boxes[:, random.integers(0, 90, 6), random.integers(0, 4, 6)] = [np.inf, -np.inf, np.nan, np.inf, 3e38, 1e-40]
    return boxes, random.integers(-4, 3, (6, 90, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("boxes", "logits"),
    [chain(400), on_a_grid(0), on_a_grid(1), problem(5, images=3)],
    ids=["chain", "grid", "other", "random"],
)
@pytest.mark.parametrize("rules", [{}, {"iou_threshold": 0.5}, {"max_detections_per_class": 5, "iou_threshold": 0.0}])
def test_suppression_by_matrices_gives_what_tensorflows_operation_gives(boxes, logits, rules):
    rules = spec(**{"score_threshold": 0.0, "iou_threshold": 0.6, "candidates": 300, **rules})
    expected = run(boxes, logits, rules)
    assert expected.count.min() > 0
    for rows, same in zip(run(boxes, logits, rules, device="gpu"), expected, strict=True):
        np.testing.assert_array_equal(rows, same)


@pytest.mark.parametrize("candidates", [None, 37])
def test_an_image_has_the_same_detections_bit_for_bit_in_every_batch(candidates):
    boxes, logits = problem(3, images=5)
    logits = np.round(logits * 2) / 2  # many equal ones, as in bfloat16
    rules = spec(candidates=candidates, max_detections_per_class=13, max_total_detections=37)
    tf1 = tf.compat.v1
    with tf.Graph().as_default(), tf1.Session() as session:
        inputs = [tf1.placeholder(tf.float32, [None, *array.shape[1:]]) for array in (boxes, logits)]
        detections = postprocess(*inputs, rules)
        batches = [(0, 5), *((n, n + 1) for n in range(5)), (1, 3), (2, 5)]
        feeds = [dict(zip(inputs, (boxes[first:last], logits[first:last]), strict=True)) for first, last in batches]
        whole, *parts = (session.run(detections, feed) for feed in feeds)
    for (first, last), part in zip(batches[1:], parts, strict=True):
        for rows, expected in zip(part, whole, strict=True):
            np.testing.assert_array_equal(rows, expected[first:last])


@pytest.mark.parametrize("candidates", [None, 6])
def test_of_equal_scores_the_lower_class_comes_first_and_then_the_lower_anchor(candidates):
    boxes = [(0, 0, 0.1, 0.1), (0.2, 0, 0.3, 0.1), (0.4, 0, 0.5, 0.1)]
    detections = found(boxes, [[0.5, 0.5], [0.5, 0.5], [0.5, 0.75]], spec(candidates=candidates), (0, 0, 1, 1))
    assert [(boxes.index(box), label) for box, _, label in detections] == [
        (2, 1),
        (0, 0),
        (1, 0),
        (2, 0),
        (0, 1),
        (1, 1),
    ]


def test_of_equal_scores_the_lower_anchors_are_candidates():
    boxes = [(0.2 * i, 0, 0.2 * i + 0.1, 0.1) for i in range(5)]
    detections = found(boxes, [[0.5, 0.5]] * 5, spec(candidates=3), (0, 0, 1, 1))
    assert [(round(box[0] / 0.2), label) for box, _, label in detections] == [(0, 0), (1, 0), (0, 1)]


@pytest.mark.parametrize("candidates", CANDIDATES)
def test_nothing_above_the_threshold_is_no_detection_and_no_error(candidates):
    boxes, logits = problem(0, images=2)
    result = run(boxes, logits, spec(score_threshold=0.9999999, candidates=candidates))
    assert result.count.tolist() == [0, 0]
    assert result.boxes.shape == (2, 100, 4)
    assert result.classes.dtype == np.int32
    assert not any(rows.any() for rows in result)


@pytest.mark.parametrize("candidates", CANDIDATES)
def test_no_image_is_no_error(candidates):
    result = run(*(array[:0] for array in problem(0)), spec(candidates=candidates))
    assert [rows.shape for rows in result] == [(0, 100, 4), (0, 100), (0, 100), (0,)]


@pytest.mark.parametrize("candidates", [None, 40])
def test_an_anchor_with_a_nan_detects_nothing_and_disturbs_no_other(candidates):
    boxes, logits = problem(1)
    broken_boxes, broken_logits = boxes.copy(), logits.copy()
    broken_logits[0, [4, 50, 79], [0, 2, 4]] = np.nan
    broken_logits[0, 60] = np.nan
    logits[0, [4, 50, 60, 79]] = -np.inf
    rules = spec(score_threshold=0.0, candidates=candidates)
    expected = run(boxes, logits, rules)
    for rows, same in zip(run(boxes, broken_logits, rules), expected, strict=True):
        np.testing.assert_array_equal(rows, same)
    broken_boxes[0, range(30), np.arange(30) % 4] = np.nan
    result = run(broken_boxes, broken_logits, rules)
    assert np.isfinite(result.boxes).all()
    left = {tuple(box) for box in np.clip(boxes[0, 30:], 0, 1).tolist()}
    assert {tuple(box) for box in result.boxes[0, : result.count[0]].tolist()} <= left
    assert result.count[0] > 10


def test_anchors_with_a_nan_take_no_place_among_the_candidates():
    boxes, logits = problem(1)
    broken = logits.copy()
    broken[0, 10:70, 2] = np.nan
    logits[0, 10:70] = -np.inf
    expected = run(boxes, logits, spec(candidates=20))
    assert expected.count[0] > 5
    for rows, same in zip(run(boxes, broken, spec(candidates=20)), expected, strict=True):
        np.testing.assert_array_equal(rows, same)


@pytest.mark.parametrize("candidates", CANDIDATES)
def test_when_all_is_nan_there_is_no_detection(candidates):
    assert run(*(array * np.nan for array in problem(1)), spec(candidates=candidates)).count.tolist() == [0]


@pytest.mark.parametrize("candidates", CANDIDATES)
def test_sides_without_bound_are_cut_to_the_image(candidates):
    boxes = np.array([[(-np.inf, -np.inf, np.inf, np.inf), (0.25, 0.25, 0.5, 0.5)]])
    result = run(boxes, [[[3.0], [2.0]]], spec(candidates=candidates))
    assert result.boxes[0, :2].tolist() == [[0, 0, 1, 1], [0.25, 0.25, 0.5, 0.5]]


def test_candidates_that_cannot_be_numbered_are_refused():
    with pytest.raises(ValueError, match="30000 candidates of 600 classes"), tf.Graph().as_default():
        postprocess(tf.zeros([1, 30000, 4]), tf.zeros([1, 30000, 600]), spec())
