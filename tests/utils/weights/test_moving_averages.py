"""Moving averages against hand-computed values."""

import numpy as np
import pytest
import tensorflow as tf

from utils.weights.moving_averages import MovingAverages

tf1 = tf.compat.v1


class Averaged:
    """A weight, a statistic and a counter with values set by hand, and the moving averages."""

    def __init__(self, decay):
        self.graph = tf.Graph()
        with self.graph.as_default():
            make = {"use_resource": True}
            self.weight = tf1.get_variable("net/w", initializer=1.0, **make)
            self.mean = tf1.get_variable("net/BatchNorm/moving_mean", initializer=5.0, trainable=False, **make)
            tf1.get_variable("global_step", initializer=np.int64(0), trainable=False, **make)
            averages = MovingAverages(decay, tf1.global_variables())
            self.begin = averages.begin
            self.step, self.counts = tf1.placeholder(tf.int64, []), tf1.placeholder(tf.bool, [])
            self.update = averages.update(self.step, self.counts)
            self.session = tf1.Session()
            self.session.run(tf1.global_variables_initializer())
            self.session.run(list(self.begin.values()))

    def after(self, value, step, counts=True):
        """The averages of weight and statistic after a step that set both to a value."""
        with self.graph.as_default():
            self.weight.load(value, self.session)
            self.mean.load(value, self.session)
        self.session.run(self.update, {self.step: step, self.counts: counts})
        return self.values()

    def values(self):
        names = ("net/w", "net/BatchNorm/moving_mean")
        return [float(self.session.run(f"{name}/ExponentialMovingAverage/Read/ReadVariableOp:0")) for name in names]


def test_weights_and_statistics_have_averages_and_nothing_else_has():
    averaged = Averaged(0.9)
    assert set(averaged.begin) == {
        "net/w/ExponentialMovingAverage",
        "net/BatchNorm/moving_mean/ExponentialMovingAverage",
    }
    assert averaged.values() == [1.0, 5.0]  # they start equal to their variables


def test_a_step_takes_in_what_the_decay_leaves():
    averaged = Averaged(0.9)
    assert averaged.after(11.0, 1000) == pytest.approx([0.9 * 1 + 0.1 * 11, 0.9 * 5 + 0.1 * 11])
    assert averaged.after(0.0, 1001)[0] == pytest.approx(0.9 * 2.0)


def test_the_first_steps_forget_faster():
    averaged = Averaged(0.9)
    # after step 1: 2/11 of the old; after step 2: 3/12
    first = 2 / 11 * 1 + 9 / 11 * 3
    assert averaged.after(3.0, 1)[0] == pytest.approx(first)
    assert averaged.after(4.0, 2)[0] == pytest.approx(0.25 * first + 0.75 * 4)


def test_a_skipped_step_does_not_count():
    averaged = Averaged(0.5)
    assert averaged.after(7.0, 100, counts=False) == [1.0, 5.0]


def test_ranges_of_quantization_have_averages_and_their_counters_have_none():
    ranges = ["a/weights_quant/min", "a/act_quant/max", "a/weights_quant/feature_3/max"]
    others = ["a/act_quant/a/act_quant/min/biased", "a/act_quant/a/act_quant/max/local_step", "loss_scale"]
    with tf.Graph().as_default():
        for name in (*ranges, *others):
            tf1.get_variable(name, initializer=1.0, trainable=False, use_resource=True)
        averages = MovingAverages(0.9, tf1.global_variables())
    assert {name.removesuffix("/ExponentialMovingAverage") for name in averages.begin} == set(ranges)


def test_an_average_of_every_third_step_decays_by_three_steps_at_once():
    with tf.Graph().as_default(), tf1.Session() as session:
        weight = tf1.get_variable("w", initializer=0.0, use_resource=True)
        averages = MovingAverages(0.5, tf1.global_variables(), every=3)
        step, counts = tf1.placeholder(tf.int64, []), tf1.placeholder(tf.bool, [])
        update = averages.update(step, counts)
        (average,) = (v for v in tf1.global_variables() if v.op.name.startswith("w/"))
        session.run(tf1.global_variables_initializer())
        seen = []
        for done in range(28, 34):
            weight.load(float(done), session)
            session.run(update, {step: done, counts: done != 33})
            seen.append(float(session.run(average)))
    moved = (1 - 0.5**3) * 30.0  # at step 30; step 33 does not count
    assert seen == pytest.approx([0, 0, moved, moved, moved, moved])
