"""The classification task against NumPy."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from model.layers.options import LayerOptions
from runtime.classification import Classification, ClassificationEvaluator, mixup, smoothed_one_hot
from tests.runtime.runs import TINY, tiny_networks
from tests.utils.input_records import encode, noise, record, run_graph, write_files
from utils.batching import STATUS_BAD_LABEL, STATUS_OK, STATUS_PADDING, STATUS_UNDECODABLE, Batch, Position, Shard
from utils.config import DataConfig, ExperimentConfig, ModelConfig, OptimizerConfig, RunConfig
from utils.errors import RunError
from utils.tfrecord_file import read_record

SIZE = 8


def config(*, num_classes=3, batch_size=4, data_dir="data", source="tfrecord", top_k=5, mode="train", **optimizer):
    return ExperimentConfig(
        model=ModelConfig(
            architecture="resnet50",
            num_classes=num_classes,
            image_size=SIZE,
            label_offset=1,
            class_names=tuple(f"class {i}" for i in range(num_classes)),
        ),
        data=DataConfig(data_dir=data_dir, source=source, batch_size_per_replica=batch_size),
        optimizer=OptimizerConfig(**optimizer),
        run=RunConfig(mode=mode, top_k=top_k),
    )


def task(splits=None, seed=5, replicas=1, **changes):
    with tiny_networks():
        return Classification(config(**changes), splits or {}, seed, LayerOptions(), replicas)


def batch(labels, status=None):
    count = len(labels)
    images = tf.constant(np.random.default_rng(0).uniform(0, 255, (count, SIZE, SIZE, 3)), tf.float32)
    status = tf.constant([STATUS_OK] * count if status is None else status, tf.int32)
    return Batch(images, {"labels": tf.constant(labels, tf.int32)}, status, tf.range(count, dtype=tf.int64))


def softmax_cross_entropy(logits, targets):
    logits = np.asarray(logits, np.float64)
    log_softmax = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -(targets * log_softmax).sum(axis=1)


# Targets


@pytest.mark.parametrize(("classes", "smoothing"), [(4, 0.0), (4, 0.1), (1001, 0.1), (1, 0.1)])
def test_smoothing_takes_from_the_label_and_gives_to_all_classes_alike(classes, smoothing):
    labels = np.array([0, classes - 1])
    on, off = 1 - smoothing + smoothing / classes, smoothing / classes
    expected = np.where(np.arange(classes) == labels[:, None], on, off)
    found = run_graph(lambda: smoothed_one_hot(tf.constant(labels, tf.int32), classes, smoothing))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)


def mixed(mask, alpha=0.2, seed=(10, 3), size=1):
    """Mixes rows that tell where they came from; returns (images, labels, the share of its own that a row kept)."""
    count = len(mask)
    images = np.random.default_rng(1).normal(size=(count, size, size, 3)).astype(np.float32)
    labels = np.eye(count, dtype=np.float32)
    outputs = run_graph(
        lambda: mixup(
            tf.constant(images), tf.constant(labels), tf.constant(mask, tf.float32), alpha, tf.constant(seed, tf.int64)
        )
    )
    return images, outputs, np.diagonal(outputs[1])


def test_mixup_blends_each_row_with_its_mirror_by_one_share_for_image_and_target():
    images, (blended, targets), share = mixed([1] * 6, size=2)
    wide = share[:, None, None, None]
    np.testing.assert_allclose(blended, wide * images + (1 - wide) * images[::-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(targets, share[:, None] * np.eye(6) + (1 - share[:, None]) * np.eye(6)[::-1], atol=1e-6)
    assert len(set(share.tolist())) == 6  # a share for each row, not for the batch


def test_rows_that_do_not_count_are_neither_mixed_nor_mixed_in():
    mask = [1, 0, 1, 1, 1, 1]  # row 1 does not count, its mirror is row 4
    images, (blended, targets), share = mixed(mask)
    assert share[1] == share[4] == 1.0
    for row in (1, 4):
        np.testing.assert_array_equal(blended[row], images[row])
        np.testing.assert_array_equal(targets[row], np.eye(6)[row])
    assert all(0 < share[row] < 1 for row in (0, 2, 3, 5))


def test_the_middle_row_of_an_odd_batch_stays_itself():
    images, (blended, targets), _ = mixed([1] * 5)
    np.testing.assert_allclose(blended[2], images[2], rtol=1e-6)
    np.testing.assert_allclose(targets[2], np.eye(5)[2], rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_shares_have_the_moments_of_the_beta_distribution(alpha):
    count = 20_000
    images, labels = np.zeros((count, 1, 1, 1), np.float32), np.zeros((count, 2), np.float32)
    labels[: count // 2, 0] = labels[count // 2 :, 1] = 1
    _, targets = run_graph(
        lambda: mixup(tf.constant(images), tf.constant(labels), tf.ones(count), alpha, tf.constant([7, 1], tf.int64))
    )
    share = np.where(labels[:, 0] == 1, targets[:, 0], targets[:, 1])
    assert share.mean() == pytest.approx(0.5, abs=0.01)
    assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.005)
    assert abs(np.corrcoef(share, share[::-1])[0, 1]) < 0.03


def test_shares_follow_from_seed_and_step_alone():
    first, again, later, other = (mixed([1] * 8, seed=seed)[2] for seed in ((10, 3), (10, 3), (10, 4), (12, 3)))
    np.testing.assert_array_equal(first, again)
    assert not np.intersect1d(first, later).size
    assert not np.intersect1d(first, other).size


def prepared(**optimizer):
    def build():
        images, targets = task(**optimizer).prepare(batch([0, 1, 2, 0]), tf.constant(3, tf.int64))
        return images, targets["probabilities"], batch([0, 1, 2, 0]).images

    return run_graph(build)


def test_training_sees_normalized_images_and_smoothed_targets():
    images, targets, raw = prepared(label_smoothing=0.3)
    mean, std = np.array([123.68, 116.28, 103.53]), np.array([58.395, 57.12, 57.385])
    np.testing.assert_allclose(images, (raw - mean) / std, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(targets[1], [0.1, 0.8, 0.1], rtol=1e-5)


def test_mixup_acts_on_what_was_normalized_and_smoothed():
    plain, plain_targets, _ = prepared(label_smoothing=0.3)
    images, targets, _ = prepared(label_smoothing=0.3, mixup_alpha=0.5)
    share = (targets[1, 1] - plain_targets[2, 1]) / (plain_targets[1, 1] - plain_targets[2, 1])
    assert 0 < share < 1
    np.testing.assert_allclose(images[1], share * plain[1] + (1 - share) * plain[2], rtol=1e-3, atol=1e-3)


# Losses


def test_the_loss_is_the_mean_cross_entropy_with_soft_targets():
    logits = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    targets = np.array([[0.8, 0.1, 0.1], [0.5, 0.5, 0], [0, 0, 1], [0.2, 0.2, 0.6]], np.float32)
    found = run_graph(
        lambda: task().losses(
            {"logits": tf.constant(logits)}, {"probabilities": tf.constant(targets)}, tf.constant([1.0] * 4)
        )
    )
    assert set(found) == {"cross_entropy"}
    assert found["cross_entropy"] == pytest.approx(softmax_cross_entropy(logits, targets).mean(), rel=1e-5)


@pytest.mark.parametrize("mask", [[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
def test_only_rows_that_count_weigh_in_the_loss_and_its_gradient(mask):
    logits = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]

    def build():
        tensor = tf.constant(logits)
        loss = task().losses({"logits": tensor}, {"probabilities": tf.constant(targets)}, tf.constant(mask, tf.float32))
        return loss["cross_entropy"], tf.gradients(loss["cross_entropy"], tensor)[0]

    loss, gradient = run_graph(build)
    count = max(sum(mask), 1)
    assert loss == pytest.approx((softmax_cross_entropy(logits, targets) * mask).sum() / count, rel=1e-5)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = (probabilities - targets) * np.array(mask)[:, None] / count
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_weight_decay_is_half_the_squared_norm_of_kernels_and_biases():
    def build():
        one = tf.compat.v1.get_variable("resnet50/output/dense/kernel", initializer=tf.constant([3.0, 4.0]))
        two = tf.compat.v1.get_variable("resnet50/output/dense/bias", initializer=tf.constant([2.0]))
        norm = tf.compat.v1.get_variable("resnet50/conv2d/BatchNorm/gamma", initializer=tf.constant([100.0]))
        loss = task(weight_decay=0.01).weight_decay([one, two, norm])
        with tf.control_dependencies([v.initializer for v in (one, two, norm)]):
            return tf.constant(0), loss

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        _, loss = build()
        session.run(tf.compat.v1.global_variables_initializer())
        assert session.run(loss) == pytest.approx(0.01 * (25 + 4) / 2)


# Evaluation


def evaluated(logits, labels, top_k=5):
    evaluator = ClassificationEvaluator(top_k)
    evaluator.update({"logits": np.asarray(logits), "labels": np.asarray(labels)})
    return evaluator.result()


def test_accuracies_and_loss_equal_a_sorting_oracle():
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(200, 12)), rng.integers(0, 12, 200)
    order = np.argsort(-logits, axis=1)
    result = evaluated(logits, labels, top_k=3)
    assert set(result) == {"top1_accuracy", "top3_accuracy", "top5_accuracy", "loss", "images"}
    for k in (1, 3, 5):
        assert result[f"top{k}_accuracy"] == (order[:, :k] == labels[:, None]).any(axis=1).mean()
    assert result["loss"] == pytest.approx(softmax_cross_entropy(logits, np.eye(12)[labels]).mean())
    assert result["images"] == 200


@pytest.mark.parametrize(("label", "rank"), [(0, 0), (1, 1), (2, 2)])
def test_of_equal_logits_the_first_class_comes_first_as_argmax_has_it(label, rank):
    result = evaluated([[1.0, 1.0, 1.0, 0.0]], [label], top_k=2)
    assert result["top1_accuracy"] == (rank < 1)
    assert result["top2_accuracy"] == (rank < 2)


def test_a_k_beyond_the_class_count_counts_every_image():
    result = evaluated([[3.0, 2.0, 1.0]] * 2, [2, 0], top_k=50)
    assert (result["top1_accuracy"], result["top5_accuracy"], result["top50_accuracy"]) == (0.5, 1.0, 1.0)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_an_error_and_not_a_hit(broken):
    with pytest.raises(RunError, match="logits are not finite"):
        evaluated([[0.0, 1.0], [broken, 0.0]], [0, 0])


def test_an_evaluation_of_nothing_is_an_error():
    with pytest.raises(RunError, match="no image could be evaluated"):
        ClassificationEvaluator(5).result()
    empty = ClassificationEvaluator(5)
    empty.update({"logits": np.zeros((0, 3)), "labels": np.zeros(0, int)})
    with pytest.raises(RunError, match="no image could be evaluated"):
        empty.result()


def test_evaluators_of_parts_add_up_to_the_whole():
    rng = np.random.default_rng(4)
    logits, labels = rng.normal(size=(30, 8)), rng.integers(0, 8, 30)
    whole = ClassificationEvaluator(5)
    whole.update({"logits": logits, "labels": labels})
    parts = [ClassificationEvaluator(5) for _ in range(3)]
    for part, start, end in zip(parts, (0, 7, 7), (7, 7, 30), strict=True):
        part.update({"logits": logits[start:end], "labels": labels[start:end]})
    for part in parts[1:]:
        parts[0].merge(part)
    assert {**parts[0].result(), "loss": 0} == {**whole.result(), "loss": 0}
    assert parts[0].result()["loss"] == pytest.approx(whole.result()["loss"], rel=1e-12)


def test_logits_far_from_zero_lose_no_digits():
    assert evaluated([[1e4, 1e4 - 1.0]], [1])["loss"] == pytest.approx(1 + np.log1p(np.exp(-1.0)))


# Data


def test_a_split_without_files_is_a_thousand_batches_of_all_replicas():
    assert task(data_dir=None, source="synthetic", mode="training_benchmark").num_examples("train") == 4000
    assert task(data_dir=None, source="synthetic", mode="training_benchmark", replicas=8).num_examples("train") == 32000


def test_a_split_has_as_many_examples_as_its_files(tmp_path):
    files = write_files(tmp_path, [record(encode(noise(i))) for i in range(7)], 2)
    assert task({"train": files}).num_examples("train") == 7


def test_training_never_ends_and_validation_does(tmp_path):
    files = write_files(tmp_path, [record(encode(noise(i))) for i in range(3)])
    splits = {"train": files, "validation": files}
    counts = {}
    for split in splits:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            stream = task(splits, batch_size=2).input(split, Shard(), Position())
            session.run(stream.initializer)
            counts[split] = 0
            try:
                for _ in range(5):
                    session.run(stream.batch.index)
                    counts[split] += 1
            except tf.errors.OutOfRangeError:
                pass
    assert counts == {"train": 5, "validation": 2}


@pytest.fixture
def files(tmp_path):
    examples = [record(encode(noise(i)), label=1 + i) for i in range(5)]
    unlabelled = tf.train.Example.FromString(record(encode(noise(9))))
    del unlabelled.features.feature["image/class/label"]
    return write_files(tmp_path, [*examples, unlabelled.SerializeToString()], 2)


def test_a_bad_label_is_described_with_file_record_and_range(files):
    found = task({"train": files}).describe_bad_example("train", 4, STATUS_BAD_LABEL)
    assert found == f"{files.paths[1]}, record 1: label 5 is outside 1..3 (--num_classes 3)"


def test_a_record_without_a_label_is_described(files):
    found = task({"train": files}).describe_bad_example("train", 5, STATUS_BAD_LABEL)
    assert found == f"{files.paths[1]}, record 2: has no label (image/class/label)"


def test_an_image_that_does_not_decode_is_described(files):
    found = task({"train": files}).describe_bad_example("train", 0, STATUS_UNDECODABLE)
    assert found == f"{files.paths[0]}, record 0: the image does not decode"
    assert read_record(files.paths[0], 0)


# Graph


def test_predictions_have_their_public_names_and_the_first_of_equals_wins():
    def build():
        logits = tf.constant([[0.0, 2.0, 2.0], [5.0, 0.0, 1.0]])
        return task().predictions({"logits": logits, "probabilities": tf.nn.softmax(logits)})

    found = run_graph(build)
    assert set(found) == {"classes", "probabilities"}
    np.testing.assert_array_equal(found["classes"], [1, 0])
    assert found["classes"].dtype == np.int32


def test_the_network_is_built_with_the_spec_and_the_layers_of_the_task():
    layers = LayerOptions(data_format="NCHW", seed=9)
    with tiny_networks(), tf.Graph().as_default():
        built = Classification(config(), {}, 5, layers)
        endpoints = built.forward(tf.zeros([2, SIZE, SIZE, 3]), training=True)
        assert endpoints["logits"].shape == [2, 3]
        assert endpoints["stem"].shape[1] == TINY["resnet50"].stem_width  # NCHW
        assert tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)
    with tiny_networks(), tf.Graph().as_default():
        Classification(config(), {}, 5, layers).forward(tf.zeros([2, SIZE, SIZE, 3]), training=False)
        assert not tf.compat.v1.get_collection(tf.compat.v1.GraphKeys.UPDATE_OPS)


def test_evaluation_takes_plain_labels_and_logits():
    endpoints, targets = {"logits": "logits", "features": "f"}, {"labels": "labels"}
    assert task().outputs(endpoints, targets) == {"logits": "logits", "labels": "labels"}


def test_the_weights_metadata_says_what_is_needed_to_use_them():
    assert task().metadata() == {
        "task": "classification",
        "architecture": "resnet50",
        "num_classes": 3,
        "class_names": ["class 0", "class 1", "class 2"],
        "data_class_names": None,
        "label_offset": 1,
        "image_size": 8,
        "preprocessing": {
            "mean_rgb": [123.68, 116.28, 103.53],
            "std_rgb": [58.395, 57.12, 57.385],
            "range": [0, 255],
        },
    }


def test_a_configuration_that_was_not_resolved_is_refused():
    unresolved = dataclasses.replace(config(), model=ModelConfig())
    with pytest.raises(ValueError, match="not resolved"):
        Classification(unresolved, {}, 5, LayerOptions())


def test_padding_is_masked_out_of_training_too():
    mask = run_graph(
        lambda: batch([0, 0, 0, 0], [STATUS_OK, STATUS_PADDING, STATUS_UNDECODABLE, STATUS_BAD_LABEL]).mask
    )
    np.testing.assert_array_equal(mask, [1, 0, 0, 0])
