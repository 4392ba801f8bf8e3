"""Residual blocks whose last normalization begins at 0 pass their input on."""

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from model.resnet import resnet
from model.specs import BASIC_NAMES, QuantizationSpec, ResNetSpec

tf1 = tf.compat.v1
SIZES = {"blocks": (1, 2), "widths": (4, 4), "stem_width": 4, "activation": "relu"}
BASIC = ResNetSpec(name="basic", block="basic", expansion=1, names=BASIC_NAMES, **SIZES)
BOTTLENECK = ResNetSpec(name="bottleneck", expansion=2, se_ratio=4, **SIZES)


def begun(spec, **options):
    """The gammas and endpoints of a new network."""
    with tf.Graph().as_default(), tf1.Session() as session:
        pixels = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
        endpoints = resnet(tf.constant(pixels), spec, 3, LayerOptions(training=True, **options))
        session.run(tf1.global_variables_initializer())
        gammas = {v.op.name: v for v in tf1.global_variables() if v.op.name.endswith("/gamma")}
        return session.run(gammas), session.run(endpoints)


@pytest.mark.parametrize("quantization", [None, QuantizationSpec()])
@pytest.mark.parametrize("spec", [BASIC, BOTTLENECK], ids=lambda spec: spec.name)
def test_only_the_last_gamma_of_each_block_begins_at_0(spec, quantization):
    gammas, endpoints = begun(spec, zero_init_residual=True, quantization=quantization)
    zeros = [name for name, value in gammas.items() if not np.any(value)]
    assert len(zeros) == sum(spec.blocks)
    assert all(f"/{spec.names.convolutions[-1]}/" in name for name in zeros)
    assert all(np.all(gammas[name] == 1.0) for name in gammas.keys() - set(zeros))
    assert np.isfinite(endpoints["features"]).all()
    assert all(np.all(value == 1.0) for value in begun(spec)[0].values())


def test_a_new_block_without_projection_changes_nothing():
    spec = ResNetSpec(
        name="flat", block="basic", expansion=1, names=BASIC_NAMES, **{**SIZES, "blocks": (2,), "widths": (4,)}
    )
    _, endpoints = begun(spec, zero_init_residual=True)
    np.testing.assert_array_equal(endpoints["stage_0"], endpoints["stem"])  # the pooled stem is positive
