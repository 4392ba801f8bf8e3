"""Optimizers, weight decay and loss scaling against hand-computed values."""

import numpy as np
import pytest
import tensorflow as tf

from utils.optimizer_table import OPTIMIZERS, SLOTS, STATE_PATTERN, optimizer_of, slot_names
from utils.optimizers import Descent, LossScale, WeightDecay, build_update, decayed, every_variable_alike

tf1 = tf.compat.v1


def descent(name="momentum", momentum=0.9, multiplier=every_variable_alike):
    return Descent(tf.constant(0.1), OPTIMIZERS[name], momentum, multiplier)


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


def test_nothing_to_decay_is_no_loss():
    with tf.Graph().as_default(), tf1.Session() as session:
        assert session.run(WeightDecay([], 0.1).loss()) == 0.0


def two_weights(multiplier, scale=None, optimizer="momentum", grouped=False, **dynamic):
    """All variables after two steps from a = b = 1 with slopes 2 and 3."""
    with tf.Graph().as_default(), tf1.Session() as session:
        step = tf1.get_variable("global_step", initializer=np.int64(0), trainable=False, use_resource=True)
        a, b = (tf1.get_variable(name, initializer=1.0, use_resource=True) for name in ("a", "b"))
        loss_scale = LossScale(scale, **dynamic)
        update = build_update(
            2 * a + 3 * b, step, descent(optimizer, 0.5, multiplier.get), loss_scale=loss_scale, grouped=grouped
        )
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


def in_numpy(name, gradient, factor, steps=2, rate=0.1, momentum=0.5):
    """A weight that begins at 1, and the slots of a variable, after steps with the same gradient; Kingma and Ba,
    arXiv:1412.6980, algorithm 1, and Sutskever et al., 2013, as TensorFlow writes it."""
    weight, first, second = 1.0, 0.0, 0.0
    for step in range(1, steps + 1):
        if name == "adam":
            first = momentum * first + (1 - momentum) * gradient
            second = 0.999 * second + 0.001 * gradient**2
            update = first / (1 - momentum**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        else:
            first = momentum * first + gradient
            update = gradient + momentum * first if name == "nesterov" else first
        weight -= factor * rate * update
    return weight, (first, second)[: len(OPTIMIZERS[name].slots)]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_row_is_all_that_an_optimizer_needs(name, dynamic, grouped):
    """The update with any factors; slots and state have the names in the row, and there are no others."""
    spec, own = OPTIMIZERS[name], {"a", "b", "global_step"}
    for factors in ({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 10.0}, {"a": 3.0, "b": 10.0}):
        found = two_weights(factors, optimizer=name, dynamic=dynamic, grouped=grouped)
        for variable, gradient in (("a", 2.0), ("b", 3.0)):
            weight, slots = in_numpy(name, gradient, factors[variable])
            assert found[variable] == pytest.approx(weight, rel=1e-5, abs=1e-5)
            assert [found[f"{variable}/{slot}"] for slot in spec.slots] == pytest.approx(slots, rel=1e-4)
        kept = {f"{variable}/{slot}" for variable in ("a", "b") for slot in spec.slots} | set(spec.state)
        assert {key for key in found if not key.startswith("loss_scale")} == own | kept
        assert all(STATE_PATTERN.search(key) for key in kept)
    if name == "adam":  # as TensorFlow keeps them: one power ahead
        assert (found["beta1_power"], found["beta2_power"]) == (pytest.approx(0.5**3), pytest.approx(0.999**3))


def test_an_overflow_leaves_all_that_an_optimizer_keeps_as_it_was():
    toy = Toy(dynamic=True, optimizer="adam")
    kept = ("w", "w/Adam", "w/Adam_1", "beta1_power", "beta2_power")
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
    assert optimizer_of(["a", "a/Adam"]) is optimizer_of(weights) is None
