"""Optimizers, weight decay and loss scaling against hand-computed values."""

import numpy as np
import pytest
import tensorflow as tf

from tests.utils.second_optimizers import BETA2, SECOND
from utils.optimizer_config import OptimizerConfig
from utils.optimizer_table import OPTIMIZERS, SLOTS, STATE_PATTERN, optimizer_of, slot_names
from utils.optimizers import Descent, LossScale, WeightDecay, build_update, decayed, every_variable_alike, settings_of

tf1 = tf.compat.v1


def descent(name="momentum", momentum=0.9, multiplier=every_variable_alike, decay=None, rate=0.1, **numbers):
    settings = settings_of(OptimizerConfig(name=name, momentum=momentum, **numbers), decay or WeightDecay([], 0.0))
    return Descent(tf.constant(rate), OPTIMIZERS[name], settings, multiplier)


class Toy:
    """One weight w with the loss slope * w, so that the fed slope is its gradient."""

    def __init__(self, static=None, *, dynamic=False, momentum=0.9, optimizer="momentum"):
        self.graph = tf.Graph()
        with self.graph.as_default():
            self.step = tf1.get_variable("global_step", initializer=np.int64(0), trainable=False, use_resource=True)
            self.weight = tf1.get_variable("w", initializer=1.0, use_resource=True)
            self.slope = tf1.placeholder(tf.float32, [])
            loss = self.slope * self.weight
            scale = LossScale(static, dynamic=dynamic)
            self.update = build_update(loss, self.step, descent(optimizer, momentum), loss_scale=scale)
            with tf.control_dependencies([self.update.operation]):
                self.after = self.step.read_value()
            self.session = tf1.Session()
            self.session.run(tf1.global_variables_initializer())

    def run(self, slope):
        step, scale, finite = self.session.run(
            [self.after, self.update.loss_scale, self.update.finite], {self.slope: slope}
        )
        return int(step), float(scale), bool(finite)

    def value(self, name="w"):
        with self.graph.as_default():
            variable = next(v for v in tf1.global_variables() if v.op.name == name)
            return float(self.session.run(variable))


def test_gradients_of_shared_weights_are_summed_in_pairs():
    with tf.Graph().as_default() as graph:
        step = tf1.get_variable("global_step", initializer=np.int64(0), trainable=False, use_resource=True)
        weight = tf1.get_variable("w", initializer=np.ones(3, np.float32), use_resource=True)
        uses = [tf.reduce_sum(tf.sin(weight * float(level))) for level in range(5)]
        build_update(tf.reduce_sum(uses), step, descent(), loss_scale=LossScale(None, dynamic=False))
    # The order in which TensorFlow sums three or more tensors depends on timing.
    assert [len(operation.inputs) for operation in graph.get_operations() if operation.type == "AddN"] == [2] * 4


@pytest.mark.parametrize("static", [None, 128.0])
def test_momentum_gathers_gradients_without_dampening(static):
    toy = Toy(static)
    # m: 2, 2.8, 2.52; w: 1 - 0.2 - 0.28 - 0.252
    for slope in (2.0, 1.0, 0.0):
        toy.run(slope)
    assert toy.value() == pytest.approx(0.268, rel=1e-6)
    assert toy.value("w/Momentum") == pytest.approx(2.52, rel=1e-6)


def test_fetching_the_step_reads_it_after_the_update():
    toy = Toy()
    assert [toy.run(1.0)[0] for _ in range(50)] == list(range(1, 51))


def test_a_dynamic_scale_skips_an_overflow_halves_and_leaves_weight_and_step_alone():
    toy = Toy(dynamic=True, momentum=0.0)
    assert toy.run(1.0) == (1, 2.0**15, True)
    assert toy.run(float("inf")) == (1, 2.0**15, False)
    assert toy.value() == pytest.approx(0.9)
    assert toy.run(1.0) == (2, 2.0**14, True)
    assert toy.value() == pytest.approx(0.8)


def test_a_dynamic_scale_doubles_after_2000_finite_steps_in_a_row():
    toy = Toy(dynamic=True, momentum=0.0)
    toy.run(0.0)
    toy.run(float("nan"))  # restarts the count
    scales = [toy.run(0.0)[1] for _ in range(2001)]
    assert scales[0] == scales[1999] == 2.0**14
    assert scales[2000] == 2.0**15


def test_a_dynamic_scale_does_not_fall_below_1():
    toy = Toy(dynamic=True)
    for _ in range(20):
        toy.run(float("inf"))
    assert toy.run(0.0)[1] == 1.0


def test_gradients_that_only_the_scale_makes_overflow_are_caught():
    toy = Toy(dynamic=True)
    step, _, finite = toy.run(3e38)  # times 2^15 is beyond float32
    assert (step, finite) == (0, False)


def test_an_average_over_replicas_sees_scaled_gradients_and_the_weights_unscaled_ones():
    seen = []

    def average(pairs):
        seen.extend(gradient for gradient, _ in pairs)
        return pairs

    with tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.get_variable("global_step", initializer=np.int64(0), trainable=False)
        weight = tf1.get_variable("w", initializer=1.0)
        loss_scale = LossScale(64.0)
        update = build_update(3.0 * weight, step, descent(), loss_scale=loss_scale, average=average)
        session.run(tf1.global_variables_initializer())
        assert session.run(seen) == [3.0 * 64.0]
        session.run(update.operation)
        assert session.run(weight) == pytest.approx(1.0 - 0.1 * 3.0)


def test_all_but_batch_norm_decays_biases_included():
    names = ["a/conv2d/kernel", "a/BatchNorm/gamma", "a/batch_normalization/beta", "a/se/dense/bias", "a/group_filter"]
    with tf.Graph().as_default(), tf1.Session() as session:
        variables = [tf1.get_variable(name, initializer=[3.0, 4.0]) for name in names]
        assert [v.op.name for v in decayed(variables)] == ["a/conv2d/kernel", "a/se/dense/bias", "a/group_filter"]
        loss = WeightDecay(variables, 0.1).loss()
        session.run(tf1.global_variables_initializer())
        assert session.run(loss) == pytest.approx(0.1 * 3 * 12.5)


def test_biases_do_not_decay_if_told():
    names = ["a/conv2d/kernel", "a/BatchNorm/gamma", "a/BatchNorm/beta", "a/dense/bias", "bias", "a/biased/kernel"]
    with tf.Graph().as_default():
        variables = [tf1.get_variable(name, initializer=[3.0]) for name in names]
        assert [v.op.name for v in WeightDecay(variables, 0.1, biases=False).variables] == [names[0], names[5]]


def test_nothing_to_decay_is_no_loss():
    with tf.Graph().as_default(), tf1.Session() as session:
        assert session.run(WeightDecay([], 0.1).loss()) == 0.0


def two_weights(multiplier, scale=None, optimizer="momentum", grouped=False, clip_norm=None, **dynamic):
    """All variables after two steps from a = b = 1 with slopes 2 and 3."""
    with tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.get_variable("global_step", initializer=np.int64(0), trainable=False, use_resource=True)
        a, b = (tf1.get_variable(name, initializer=1.0, use_resource=True) for name in ("a", "b"))
        loss_scale = LossScale(scale, **dynamic)
        rule = descent(optimizer, 0.5, multiplier.get, clip_norm=clip_norm)
        update = build_update(2 * a + 3 * b, step, rule, loss_scale=loss_scale, grouped=grouped)
        session.run(tf1.global_variables_initializer())
        for _ in range(2):
            session.run(update.operation)
        return session.run({v.op.name: v for v in tf1.global_variables()})


@pytest.mark.parametrize(("scale", "dynamic"), [(None, {}), (64.0, {}), (None, {"dynamic": True})])
def test_a_factor_multiplies_the_updates_of_its_variable_and_not_its_momentum(scale, dynamic):
    found = two_weights({"a": 1.0, "b": 10.0}, scale, **dynamic)
    # momentum: 2, then 0.5 * 2 + 2 = 3; for b 3, then 4.5
    assert found["a"] == pytest.approx(1 - 0.1 * (2 + 3))
    assert found["b"] == pytest.approx(1 - 10 * 0.1 * (3 + 4.5))
    assert (found["a/Momentum"], found["b/Momentum"]) == (pytest.approx(3.0), pytest.approx(4.5))
    assert found["global_step"] == 2


def test_a_factor_of_0_leaves_a_variable_alone_and_without_momentum():
    found = two_weights({"a": 0.0, "b": 1.0})
    assert found["a"] == 1.0
    assert found["b"] == pytest.approx(1 - 0.1 * (3 + 4.5))
    assert set(found) == {"a", "b", "b/Momentum", "global_step"}


def in_numpy(name, gradients, factors, steps=2):
    """Two weights that begin at 1, and the slots of each, after steps with the same gradients and momentum 0.5."""
    weights, slots = np.ones(2), [None, None]
    length = np.linalg.norm(gradients) if name == "lamb" else 1.0
    for step in range(1, steps + 1):
        for i in range(2):
            gradient, rate = np.array([gradients[i]]) / max(1.0, length), 0.1 * factors[i]
            change, slots[i] = SECOND[name](step, rate, gradient, weights[i : i + 1], slots[i], momentum=0.5)
            weights[i] -= change[0]
    return weights, slots


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_row_is_all_that_an_optimizer_needs(name, dynamic, grouped):
    """The update with any factors; slots and state have the names in the row, and there are no others."""
    spec, own = OPTIMIZERS[name], {"a", "b", "global_step"}
    for factors in ({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 10.0}, {"a": 3.0, "b": 10.0}):
        found = two_weights(factors, optimizer=name, dynamic=dynamic, grouped=grouped)
        weights, slots = in_numpy(name, [2.0, 3.0], [factors["a"], factors["b"]])
        for i, variable in enumerate("ab"):
            assert found[variable] == pytest.approx(weights[i], rel=1e-5, abs=1e-5)
            assert [found[f"{variable}/{slot}"] for slot in spec.slots] == [
                pytest.approx(slot[0], rel=1e-4) for slot in slots[i]
            ]
        kept = {f"{variable}/{slot}" for variable in ("a", "b") for slot in spec.slots} | set(spec.state)
        assert {key for key in found if not key.startswith("loss_scale")} == own | kept
        assert all(STATE_PATTERN.search(key) for key in kept)
    if spec.state:  # as TensorFlow keeps them: one power ahead
        assert (found["beta1_power"], found["beta2_power"]) == (pytest.approx(0.5**3), pytest.approx(0.999**3))


@pytest.mark.parametrize("clip_norm", [None, 0.7])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_equal_a_second_implementation(name, clip_norm):
    """Noisy gradients, a kernel that decays, one of zeros, and a norm that does not decay."""
    rng, shapes = np.random.default_rng(1), {"kernel": (4, 3), "zeros/kernel": (2,), "BatchNorm/gamma": (5,)}
    starts = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    starts["zeros/kernel"][:] = 0.0
    rate = 0.02 if OPTIMIZERS[name].beta2 else 0.1
    noise = [{key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()} for _ in range(20)]
    with tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.get_variable("global_step", initializer=np.int64(0), trainable=False, use_resource=True)
        variables = {key: tf1.get_variable(key, initializer=start, use_resource=True) for key, start in starts.items()}
        fed = {key: tf1.placeholder(tf.float32, shape) for key, shape in shapes.items()}
        loss = sum(tf.nn.l2_loss(variables[key]) * 0.5 + tf.reduce_sum(fed[key] * variables[key]) for key in shapes)
        decay = WeightDecay([*variables.values()], 0.1)
        update = build_update(
            loss,
            step,
            descent(name, decay=decay, clip_norm=clip_norm, rate=rate),
            loss_scale=LossScale(None),
            decay=decay,
        )
        session.run(tf1.global_variables_initializer())
        for values in noise:
            session.run(update.operation, {fed[key]: values[key] for key in shapes})
        ours = session.run(variables)
    weights, slots = {key: start.astype(np.float64) for key, start in starts.items()}, dict.fromkeys(shapes)
    limit = clip_norm or (1.0 if name == "lamb" else np.inf)
    for number, values in enumerate(noise, start=1):
        decays = {key: 0.1 if key.endswith("kernel") else 0.0 for key in shapes}
        inside = {key: 0.0 if OPTIMIZERS[name].decays else decays[key] for key in shapes}
        gradients = {key: (0.5 + inside[key]) * weights[key] + values[key] for key in shapes}
        length = np.sqrt(sum(np.sum(gradient**2) for gradient in gradients.values()))
        for key, gradient in gradients.items():
            own = decays[key] if OPTIMIZERS[name].decays else 0.0
            clipped = gradient * min(1.0, limit / length)
            change, slots[key] = SECOND[name](number, rate, clipped, weights[key], slots[key], momentum=0.9, decay=own)
            weights[key] = weights[key] - change
    for key in shapes:
        np.testing.assert_allclose(ours[key], weights[key], rtol=1e-6, atol=1e-6)


def test_numbers_that_are_given_replace_those_of_the_row():
    usual = settings_of(OptimizerConfig(name="lamb"), WeightDecay([], 0.1))
    assert (usual.beta2, usual.epsilon, usual.clip_norm, usual.weight_decay) == (0.999, 1e-6, 1.0, 0.1)
    given = settings_of(OptimizerConfig(name="lamb", beta2=0.9, epsilon=0.1, clip_norm=2.0), WeightDecay([], 0.1))
    assert (given.beta2, given.epsilon, given.clip_norm) == (0.9, 0.1, 2.0)
    assert settings_of(OptimizerConfig(), WeightDecay([], 0.1)).weight_decay == 0.0  # the loss has it
    assert {name: row.beta2 for name, row in OPTIMIZERS.items() if row.beta2 is not None} == BETA2


@pytest.mark.parametrize("grouped", [False, True])
def test_clipping_scales_all_gradients_by_one_factor_after_the_loss_scale(grouped):
    found = two_weights({"a": 1.0, "b": 1.0}, scale=64.0, grouped=grouped, clip_norm=1.0)
    length = np.hypot(2.0, 3.0)  # momentum 0.5: 1 and 1.5 gradients
    assert found["a"] == pytest.approx(1 - 0.1 * 2.5 * 2 / length)
    assert found["b"] == pytest.approx(1 - 0.1 * 2.5 * 3 / length)
    assert two_weights({"a": 1.0, "b": 1.0}, grouped=grouped, clip_norm=4.0)["b"] == pytest.approx(1 - 0.1 * 2.5 * 3)


@pytest.mark.parametrize("name", ["adam", "lamb"])
def test_an_overflow_leaves_all_that_an_optimizer_keeps_as_it_was(name):
    toy = Toy(dynamic=True, optimizer=name)
    kept = ("w", *(f"w/{slot}" for slot in OPTIMIZERS[name].slots), "beta1_power", "beta2_power")
    toy.run(1.0)
    before = [toy.value(name) for name in kept]
    toy.run(float("inf"))
    assert [toy.value(name) for name in kept] == before


def test_what_an_optimizer_keeps_is_known_by_its_name():
    assert slot_names("a") == tuple(f"a/{slot}" for slot in SLOTS)
    weights = ("a", "a/kernel", "Adam/kernel", "a/beta1_power", "a/BatchNorm/beta", "a/kernel/ExponentialMovingAverage")
    assert [name for name in weights if STATE_PATTERN.search(name)] == []
    assert optimizer_of([*weights, "a/kernel/Momentum"]) == "momentum"
    assert optimizer_of(["a", "a/Adam", "a/Adam_1", "beta1_power"]) == "adam"
    assert optimizer_of(["a", "a/RMSProp", "a/RMSProp_1"]) == "rmsprop"
    assert {optimizer_of([f"a/{slot}" for slot in row.slots]) for row in OPTIMIZERS.values()} == {*OPTIMIZERS} - {
        "nesterov"  # whose slot is momentum's
    }
    assert optimizer_of(["a", "a/Adam"]) is optimizer_of(weights) is None
