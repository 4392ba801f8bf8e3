"""Operations of the policies, gray and blur against Pillow, within one grey level."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from tests.utils.input_records import noise, run_graph
from utils.augment_config import RAND, TRIVIAL
from utils.input.augmentation_specs import GraySpec
from utils.input.auto_augment import POLICIES, operations
from utils.input.pixel_steps import blurred, random_gray

SIDE = 37
RAMP = np.stack(np.broadcast_arrays(*np.ogrid[20 : 57 * 3 : 4, 90 : 90 + 37 * 2 : 2], 77), axis=-1)[:SIDE].astype(
    np.uint8
)
MAGNITUDES = {TRIVIAL: (11 / 30, 1.0), RAND: (7.2, 10.0)}

POINTWISE = {
    "identity": lambda image, amount: image,
    "brightness": lambda image, amount: ImageEnhance.Brightness(image).enhance(amount),
    "color": lambda image, amount: ImageEnhance.Color(image).enhance(amount),
    "contrast": lambda image, amount: ImageEnhance.Contrast(image).enhance(amount),
    "sharpness": lambda image, amount: ImageEnhance.Sharpness(image).enhance(amount),
    "posterize": lambda image, amount: image.point([level & ~(2 ** (8 - int(amount)) - 1) for level in range(256)] * 3),
    "solarize": ImageOps.solarize,
    "solarize_add": lambda image, amount: image.point(
        [min(255, level + int(amount)) if level < 128 else level for level in range(256)] * 3
    ),
    "invert": lambda image, amount: ImageOps.invert(image),
    "auto_contrast": lambda image, amount: ImageOps.autocontrast(image),
    "equalize": lambda image, amount: ImageOps.equalize(image),
}
SHEARS_AND_TRANSLATIONS = {
    "shear_x": lambda amount: (1, amount, 0, 0, 1, 0),
    "shear_y": lambda amount: (1, 0, 0, amount, 1, 0),
    "translate_x": lambda amount: (1, 0, amount, 0, 1, 0),
    "translate_y": lambda amount: (1, 0, 0, 0, 1, amount),
}
RESAMPLING = {TRIVIAL: (Image.Resampling.NEAREST, (0, 0, 0)), RAND: (Image.Resampling.BILINEAR, (124, 116, 104))}


def of_pillow(policy, name, pixels, amount):
    image, (resampling, fill) = Image.fromarray(pixels), RESAMPLING[policy]
    if name in POINTWISE:
        return np.asarray(POINTWISE[name](image, amount))
    if name == "rotate":
        return np.asarray(image.rotate(amount, resampling, fillcolor=fill))
    matrix = SHEARS_AND_TRANSLATIONS[name](amount)
    return np.asarray(image.transform(image.size, Image.Transform.AFFINE, matrix, resampling, fillcolor=fill))


def amount_of(policy, name, magnitude, sign):
    """A second implementation of the published ranges."""
    if policy == TRIVIAL:
        turned = {"rotate": 135.0, "shear_x": 0.99, "shear_y": 0.99}
        others = {"posterize": 8 - round(6 * magnitude), "solarize": 255 - 255 * magnitude}
        moved, enhanced = int(32 * magnitude), 0.99
    else:
        turned = {"rotate": 3.0, "shear_x": 0.03, "shear_y": 0.03}
        others = {"posterize": 4 - int(0.4 * magnitude), "solarize": 256 - int(25.6 * magnitude)}
        others["solarize_add"] = int(11 * magnitude)
        moved, enhanced = 0.045 * magnitude * SIDE, 0.09
    if name in turned:
        return turned[name] * magnitude * sign
    if name.startswith("translate"):
        return moved * sign
    if name in ("brightness", "color", "contrast", "sharpness"):
        return 1 + enhanced * magnitude * sign
    return others.get(name, 0.0)


@pytest.mark.parametrize("policy", [TRIVIAL, RAND])
def test_operations_are_pillows_within_one_grey_level(policy):
    applied = operations(POLICIES[policy])
    cases = [
        (name, pixels, amount)
        for name in POLICIES[policy].operations
        for pixels in (noise(3, SIDE, SIDE), RAMP)
        for amount in sorted({amount_of(policy, name, m, sign) for m in MAGNITUDES[policy] for sign in (-1, 1)})
    ]
    found = run_graph(
        lambda: [
            applied[name](tf.constant(pixels, tf.float32), tf.constant(amount, tf.float32))
            for name, pixels, amount in cases
        ]
    )
    for (name, pixels, amount), image in zip(cases, found, strict=True):
        expected = of_pillow(policy, name, pixels, amount)
        assert np.abs(image - expected.astype(float)).max() <= 1, (name, amount)
        assert (image == np.round(image)).all(), (name, amount)


@pytest.mark.parametrize("name", ["auto_contrast", "equalize"])
def test_a_channel_of_one_value_stays(name):
    pixels = np.full((8, 8, 3), (0, 90, 255), np.uint8)
    image = run_graph(lambda: operations(POLICIES[RAND])[name](tf.constant(pixels, tf.float32), tf.constant(0.0)))
    np.testing.assert_array_equal(image, pixels)


def test_gray_is_pillows_luma_and_blur_its_gaussian():
    pixels, sigmas = noise(4, SIDE, SIDE), (0.1, 0.6, 1.3, 2.0)

    def build():
        image = tf.constant(pixels, tf.float32)
        gray = random_gray(image, tf.constant([1, 2]), GraySpec(probability=1.0))
        return gray, [blurred(image, tf.constant(sigma)) for sigma in sigmas]

    gray, blurs = run_graph(build)
    image = Image.fromarray(pixels)
    np.testing.assert_array_equal(gray, np.asarray(image.convert("L").convert("RGB")))
    for sigma, found in zip(sigmas, blurs, strict=True):
        expected = np.asarray(image.filter(ImageFilter.GaussianBlur(sigma))).astype(float)
        assert np.abs(found - expected).max() <= 1
