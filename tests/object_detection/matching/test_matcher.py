import numpy as np
import pytest
import tensorflow as tf

from object_detection.matching import matcher
from object_detection.matching.matcher import IGNORED, UNMATCHED
from tests.object_detection.evaluate import evaluate
from utils.detection_config import MatcherSpec

FIRST = [[1, 1, 1, 3, 1], [2, -1, 2, 0, 4], [3, 0, -1, 0, 0]]
SECOND = [[1, 1, 1, 3, 1], [-1, 0, -2, -2, -1], [3, 0, -1, 2, 0]]
NONE, SKIP = UNMATCHED, IGNORED


def rule_of(matched, unmatched=None, *, between=False, force=False):
    return MatcherSpec(
        matched_threshold=matched,
        unmatched_threshold=matched if unmatched is None else unmatched,
        negatives_lower_than_unmatched=not between,
        force_match=force,
    )


def match(rule, similarity, valid=None):
    def build():
        batch = tf.constant([similarity], tf.float32)
        rows = tf.ones([1, len(similarity)], tf.bool) if valid is None else tf.constant([valid])
        return matcher.match(tf.ensure_shape(batch, [1, len(similarity), 5]), rows, rule)

    (found,) = evaluate(build)
    return found.tolist()


@pytest.mark.parametrize(
    ("rule", "similarity", "expected"),
    [
        (rule_of(-9), FIRST, [2, 0, 1, 0, 1]),
        (rule_of(3), FIRST, [2, NONE, NONE, 0, 1]),
        (rule_of(3, 2), FIRST, [2, NONE, SKIP, 0, 1]),
        (rule_of(3, 2, between=True), FIRST, [2, SKIP, NONE, 0, 1]),
        (rule_of(3, 2), SECOND, [2, NONE, NONE, 0, NONE]),
        (rule_of(3, 2, force=True), SECOND, [2, 1, NONE, 0, NONE]),
    ],
)
def test_anchors_go_to_the_row_that_they_overlap_most(rule, similarity, expected):
    assert match(rule, similarity) == expected


def test_padding_matches_nothing_and_is_not_forced():
    nothing = [0] * 5
    similarity = [SECOND[0], SECOND[1], nothing, SECOND[2], nothing]
    assert match(rule_of(3, 2, force=True), similarity, [True, True, False, True, False]) == [3, 1, NONE, 0, NONE]
    assert match(rule_of(0.5), [[1] * 5], [False]) == [NONE] * 5


def test_without_boxes_all_is_background():
    found = evaluate(lambda: matcher.match(tf.zeros([2, 0, 5]), tf.zeros([2, 0], tf.bool), MatcherSpec()))
    np.testing.assert_array_equal(found, np.full((2, 5), NONE))


def test_of_two_boxes_that_force_one_anchor_the_first_gets_it():
    similarity = [[0.1, 0.3, 0.2, 0, 0], [0.1, 0.4, 0.2, 0, 0], [0.9, 0.3, 0, 0, 0]]
    assert match(MatcherSpec(), similarity) == [2, 0, NONE, NONE, NONE]


def test_the_images_of_a_batch_do_not_mix():
    def build():
        batch = tf.constant([FIRST, SECOND], tf.float32)
        valid = tf.constant([[True] * 3, [True, False, True]])
        return matcher.match(batch, valid, rule_of(3, 2, force=True))

    assert evaluate(build).tolist() == [
        match(rule_of(3, 2, force=True), FIRST),
        match(rule_of(3, 2, force=True), SECOND, [True, False, True]),
    ]


def test_thresholds_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="unmatched_threshold 4: must be at most matched_threshold 3"):
        rule_of(3, 4)
    with pytest.raises(ValueError, match="negatives_lower_than_unmatched false: needs two different thresholds"):
        rule_of(3, between=True)
