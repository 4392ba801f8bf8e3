import numpy as np
import pytest

from object_detection.boxes.box_coder import decode, encode
from tests.object_detection.evaluate import evaluate, floats
from utils.detection_config import BoxCoderSpec

PLAIN = BoxCoderSpec(y_scale=1, x_scale=1, height_scale=1, width_scale=1)
ANCHORS = ((-0.0375, -0.0375, 0.0625, 0.0625), (0.1, 0.2, 0.5, 0.6), (0, 0, 1, 1))


@pytest.mark.parametrize(
    ("coder", "codes"),
    [
        (PLAIN, [(-0.5, -0.416666, -0.405465, -0.182321), (-0.083333, -0.222222, -0.693147, -1.098612)]),
        (
            BoxCoderSpec(y_scale=2, x_scale=3, height_scale=4, width_scale=5),
            [(-1, -1.25, -1.62186, -0.911608), (-0.166667, -0.666667, -2.772588, -5.493062)],
        ),
    ],
)
def test_codes_and_back(coder, codes):
    boxes, anchors = ((10, 10, 20, 15), (0.2, 0.1, 0.5, 0.4)), ((15, 12, 30, 18), (0.1, 0, 0.7, 0.9))
    np.testing.assert_allclose(evaluate(lambda: encode(floats(*boxes), floats(*anchors), coder)), codes, atol=2e-6)
    np.testing.assert_allclose(evaluate(lambda: decode(floats(*codes), floats(*anchors), coder)), boxes, rtol=2e-5)


def test_the_codes_of_the_usual_scales():
    boxes = ((0, 0, 0.05, 0.1), (0.15, 0.25, 0.45, 0.7), (0.25, 0.25, 0.75, 0.5))
    expected = [(1.25, 3.75, -3.465736, 0), (0, 1.874999, -1.438411, 0.588915), (0, -1.25, -3.465736, -6.931472)]
    np.testing.assert_allclose(
        evaluate(lambda: encode(floats(*boxes), floats(*ANCHORS), BoxCoderSpec())), expected, atol=3e-6
    )


def test_the_boxes_of_the_usual_scales():
    codes = ((1, -1, 0.5, -0.5), (0, 0, 0, 0), (2, 3, -5, 5))
    expected = [
        (-0.032759, -0.042742, 0.077759, 0.047742),
        (0.1, 0.2, 0.5, 0.6),
        (0.51606, -0.559141, 0.883939, 2.159141),
    ]
    np.testing.assert_allclose(
        evaluate(lambda: decode(floats(*codes), floats(*ANCHORS), BoxCoderSpec())), expected, atol=2e-6
    )


def test_a_box_without_height_has_a_finite_code():
    code = evaluate(lambda: encode(floats((0.1, 0.1, 0.1, 0.2)), floats((0, 0, 0.1, 0.1)), BoxCoderSpec()))
    np.testing.assert_allclose(code, [(5, 10, -80.59048, 0)], rtol=1e-5, atol=1e-5)


def test_a_clamp_bounds_the_size_of_what_is_decoded():
    code, anchor = (0, 0, 1000, 5), (0, 0, 1, 1)
    sides = evaluate(lambda: decode(floats(code), floats(anchor), BoxCoderSpec(largest_log=2.0)))
    np.testing.assert_allclose(sides[0, 2:] - sides[0, :2], [np.exp(2.0), np.e], rtol=1e-5)
    assert np.isinf(evaluate(lambda: decode(floats(code), floats(anchor), BoxCoderSpec()))).any()
