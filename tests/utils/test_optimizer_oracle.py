"""Twenty steps of each optimizer against torch's and timm's. ``tests/model/test_timm_oracle.py`` says how to run it."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from utils.optimizer_config import OptimizerConfig
from utils.optimizer_table import OPTIMIZERS
from utils.optimizers import Descent, LossScale, WeightDecay, build_update, settings_of

tf1 = tf.compat.v1
SCRIPT = Path(__file__).parent / "oracle" / "optimizers_side.py"
STEPS, DECAY = 20, 0.1
SHAPES = {"kernel": (4, 3), "zeros/kernel": (2,), "BatchNorm/gamma": (5,)}


@pytest.fixture(scope="module")
def given():
    """Starts, noise and a falling rate; one kernel begins at zeros."""
    rng = np.random.default_rng(1)
    starts = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    starts["zeros/kernel"][:] = 0.0
    noise = {name: rng.normal(size=(STEPS, *shape)).astype(np.float32) for name, shape in SHAPES.items()}
    return {"starts": starts, "noise": noise, "rates": np.linspace(0.02, 0.001, STEPS).astype(np.float32)}


@pytest.fixture(scope="module")
def expected(oracle, given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("optimizers")
    arrays = {f"start/{name}": start for name, start in given["starts"].items()}
    arrays |= {f"noise/{name}": noise for name, noise in given["noise"].items()}
    np.savez(folder / "in.npz", rates=given["rates"], decay=DECAY, **arrays)
    subprocess.run([oracle, SCRIPT, folder / "in.npz", folder / "out.npz"], check=True, timeout=600)
    with np.load(folder / "out.npz") as results:
        return {key: results[key] for key in results.files}


def ours(name, given, rates):
    """The weights after all steps of an optimizer of ours."""
    with tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.get_variable("global_step", initializer=np.int64(0), trainable=False, use_resource=True)
        variables = {
            key: tf1.get_variable(key, initializer=start, use_resource=True) for key, start in given["starts"].items()
        }
        fed = {key: tf1.placeholder(tf.float32, variable.shape) for key, variable in variables.items()}
        loss = sum(tf.nn.l2_loss(v) * 0.5 + tf.reduce_sum(fed[key] * v) for key, v in variables.items())
        decay, rate = WeightDecay([*variables.values()], DECAY), tf1.placeholder(tf.float32, [])
        descent = Descent(rate, OPTIMIZERS[name], settings_of(OptimizerConfig(name=name), decay))
        update = build_update(loss, step, descent, loss_scale=LossScale(None), decay=decay)
        session.run(tf1.global_variables_initializer())
        for number, value in enumerate(rates):
            feed = {fed[key]: given["noise"][key][number] for key in fed}
            session.run(update.operation, {**feed, rate: value})
        return session.run(variables)


def assert_equal(found, expected, name):
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[f"{name}/{key}"], rtol=1e-6, atol=1e-6, err_msg=f"{name}, {key}")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_at_a_falling_rate_equal_torchs_or_timms(name, given, expected):
    assert_equal(ours(name, given, given["rates"]), expected, name)


def test_at_a_constant_rate_rmsprop_is_torchs_begun_at_a_mean_square_of_1(given, expected):
    assert_equal(ours("rmsprop", given, [given["rates"][0]] * STEPS), expected, "rmsprop of torch")
