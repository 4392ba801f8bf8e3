"""The memory of a graph, by hand: a tensor counts from the operation that makes it to the last one that reads it."""

import tensorflow as tf

from runtime.planning.memory_estimate import GraphMemory, graph_memory

tf1 = tf.compat.v1
KB = 256  # float32 numbers


def needed(build):
    """The bytes of one step of a graph."""
    with tf.Graph().as_default():
        fetches = build()
    return graph_memory([], {"result": fetches}).step // 1024


def noise(*shape):
    return tf.random.stateless_normal(shape, [1, 2])


def test_variables_are_counted_with_their_types():
    with tf.Graph().as_default():
        wide = tf1.get_variable("wide", [3, 5], tf.float32)
        narrow = tf1.get_variable("narrow", [7], tf.float16)
        assert graph_memory([wide, narrow], {"sum": tf.constant(0.0)}) == GraphMemory(
            variables=3 * 5 * 4 + 7 * 2, step=4
        )


def test_a_chain_needs_its_two_largest_neighbours():
    """1 KB, then 8 KB of it, then 2 KB: 8 and 2 are there at once, and 1 is gone."""

    def build():
        small = noise(1, KB)
        large = tf.tile(small, [8, 1])
        return tf.slice(large, [0, 0], [2, KB])

    assert needed(build) == 10


def test_what_is_read_again_stays():
    """3 KB wait for the end while a tensor of 5 KB comes and goes."""

    def build():
        kept = noise(3, KB)
        passing = tf.reduce_max(tf.tile(kept[:1], [5, 1]), axis=0, keepdims=True)
        return tf.concat([kept, passing], axis=0)

    assert 3 + 1 + 5 <= needed(build) <= 3 + 1 + 5 + 1


def test_a_reshaped_tensor_and_one_changed_in_place_need_no_memory():
    assert needed(lambda: tf.nn.relu(tf.reshape(noise(4, KB), [KB, 4]))) == 4
    assert needed(lambda: tf.exp(tf.reshape(noise(4, KB), [KB, 4]))) == 8


def test_an_activation_waits_for_its_gradient():
    """Squares of a squared tensor: the backward pass reads both of the forward pass."""

    def build():
        first = noise(4, KB)
        second = tf.square(first)
        third = tf.square(second)
        return tf.gradients(tf.reduce_sum(third), first)[0]

    forward_only = needed(lambda: tf.square(tf.square(noise(4, KB))))
    assert forward_only == 8
    assert needed(build) >= 12


def test_what_is_not_fetched_is_not_counted():
    def build():
        small = noise(1, KB)
        tf.tile(small, [100, 1])
        return tf.tile(small, [2, 1])

    assert needed(build) == 3
