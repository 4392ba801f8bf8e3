"""The warm start of a detector from another network: loaded, new and rejected weights."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model.checkpoint_names import variables_of
from model.layers.options import LayerOptions
from model.resnet import resnet, resnet_features
from model.specs import BACKBONES, RESNETS
from runtime.training.warm_start import load_warm_start
from tests.model.tiny_ssd import BACKBONE, PREDICTOR, load_by_name, variables_of_ssd320, weights_by_name
from tests.runtime.tiny_detector import SIZE, task, tiny_detectors
from utils.errors import RunError
from utils.image_processing import normalize
from utils.weights.pretrained_config import PRETRAINED_CONFIGS, PretrainedConfig

tf1 = tf.compat.v1


def save(path, variables, version=None):
    """A checkpoint of arrays by name."""
    with tf.Graph().as_default(), tf1.Session() as session:
        made = {name: tf1.get_variable(name, initializer=value, use_resource=True) for name, value in variables.items()}
        session.run(tf1.global_variables_initializer())
        kinds = {} if version is None else {"write_version": version}
        return tf1.train.Saver(made, **kinds).save(session, str(path), write_meta_graph=False, write_state=False)


def lines(table):
    """The load table: for each outcome, the number of variables and the listed names."""
    found = {}
    for line in table.splitlines():
        count, rest = line.split(maxsplit=1)
        fate, _, names = rest.partition("  ")
        found[fate] = (int(count), names.strip())
    return found


def counts(table):
    """The number of variables per outcome."""
    return {fate: count for fate, (count, _) in table.items()}


# Slim's network under the names of the whole detector, with small variables


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*V1.*")
def test_slims_network_gives_the_265_variables_of_the_backbone(tmp_path):
    backbone = [name for name in variables_of_ssd320() if name.startswith(BACKBONE) and "/fpn/" not in name]
    stored = {name.removeprefix("FeatureExtractor/"): weights_by_name(name, [2]) for name in backbone}
    others = {
        f"resnet_v1_50/{name}": np.ones(2, np.float32) for name in ("logits/weights", "logits/biases", "mean_rgb")
    }
    others["global_step"] = np.int64(7)
    path = save(tmp_path / "resnet_v1_50.ckpt", stored | others, tf1.train.SaverDef.V1)
    assert (tmp_path / "resnet_v1_50.ckpt").is_file()  # one file, in the old format
    with tf.Graph().as_default(), tf1.Session() as session:
        variables = [
            tf1.get_variable(name, initializer=[0.0, 0.0], use_resource=True) for name in variables_of_ssd320()
        ]
        session.run(tf1.global_variables_initializer())
        before = session.run({v.op.name: v for v in variables})
        table = load_warm_start(session, path, variables, task().training.warm_start_map, reset=False).table
        after = session.run({v.op.name: v for v in variables})
    changed = [name for name in before if (before[name] != after[name]).any()]
    assert changed == backbone
    assert len(changed) == 265
    for name in backbone:
        np.testing.assert_array_equal(after[name], stored[name.removeprefix("FeatureExtractor/")])
    found = lines(table)
    assert counts(found) == {
        "loaded, stored under another name": 265,
        "new, not in the checkpoint": 26 + 172,
        "not used, no variable matches it": 3,
        "not used, training step": 1,
    }
    first, *_ = found["loaded, stored under another name"][1].split(", ")
    assert first == "FeatureExtractor/resnet_v1_50/conv1/weights from resnet_v1_50/conv1/weights"
    assert "resnet_v1_50/mean_rgb" in found["not used, no variable matches it"][1]


# This project's classifier

IMAGES = np.random.default_rng(0).uniform(0, 255, (1, SIZE, SIZE, 3)).astype(np.float32)


USUAL = PretrainedConfig()


def classifier(folder, images, pretrained, name="resnet50"):
    """The last map of a trained classifier, and its checkpoint."""
    spec = RESNETS[name].as_trained(**pretrained.network)
    colors = {"mean_rgb": pretrained.mean_rgb, "std_rgb": pretrained.std_rgb} if pretrained.mean_rgb else {}
    with tf.Graph().as_default(), tf1.Session() as session:
        endpoints = resnet(normalize(tf.constant(images), **colors), spec, 5, LayerOptions())
        load_by_name(tf1.global_variables(), session)
        path = tf1.train.Saver().save(session, str(folder / "model.ckpt-1"), write_meta_graph=False)
        return session.run(endpoints["stage_3"]), path


def backbone_of(path, images, pretrained, name="resnet50"):
    """The last map of a detector's backbone after a warm start."""
    with tf.Graph().as_default(), tf1.Session() as session:
        detector = task(backbone=name, pretrained=pretrained)
        spec = BACKBONES[name].as_trained(**pretrained.network)
        with tf1.variable_scope("FeatureExtractor"), tf1.variable_scope(spec.name):
            endpoints = resnet_features(detector.network.normalize(tf.constant(images)), spec, LayerOptions())
        session.run(tf1.global_variables_initializer())
        table = load_warm_start(
            session, path, tf1.global_variables(), detector.training.warm_start_map, reset=False
        ).table
        return session.run(endpoints["stage_3"]), lines(table)


def compare(folder, pretrained=USUAL, name="resnet50"):
    features, path = classifier(folder, IMAGES, pretrained, name)
    found, table = backbone_of(path, IMAGES, pretrained, name)
    assert features.max() > 0.1
    np.testing.assert_allclose(found, features, atol=1e-4 * features.max())
    assert not [fate for fate in table if fate.startswith("new")]
    assert table["not used, no variable matches it"][1] == f"{name}/output/dense/bias, {name}/output/dense/kernel"
    return path, features, table


def test_a_classifier_of_this_project_becomes_a_backbone_that_computes_the_same(tmp_path):
    with tiny_detectors():
        path, features, _ = compare(tmp_path)
        # Slim's variant of the network would not work here: its strides and activations differ.
        other, _ = backbone_of(path, IMAGES, USUAL, "resnet_v1_50")
        assert np.abs(other - features).max() > 0.01 * features.max()


@pytest.mark.parametrize("name", ["resnet18", "resnext50-32x4d", "se-resnext50-32x4d"])
def test_every_classifier_becomes_a_backbone_that_computes_the_same(tmp_path, name):
    with tiny_detectors():
        compare(tmp_path, PRETRAINED_CONFIGS["torch"], name)


def test_a_small_backbone_is_enough_for_a_warm_start_and_half_of_it_is_not(tmp_path):
    """In a resnet18, the backbone has 100 of the detector's 298 variables."""
    shapes = variables_of("ssd320", 7, "resnet18")
    stem = "FeatureExtractor/resnet18/"
    names = [name for name in shapes if name.startswith(stem) and "/fpn/" not in name]
    with tf.Graph().as_default(), tf1.Session() as session:
        variables = [tf1.get_variable(name, [3, 1], use_resource=True) for name in shapes]
        session.run(tf1.global_variables_initializer())
        start = task(backbone="resnet18").training.warm_start_map
        for count, fails in ((len(names), False), (len(names) // 3, True)):
            stored = {f"resnet18/{name.removeprefix(stem)}": np.ones((3, 1), np.float32) for name in names[:count]}
            path = save(tmp_path / f"own{count}", stored)
            with pytest.raises(RunError, match="less than half") if fails else contextlib.nullcontext():
                found = load_warm_start(session, path, variables, start, reset=False)
                assert len(found.loaded) == len(names) == 100


def test_a_classifier_of_timms_that_was_imported_becomes_a_backbone_that_computes_the_same(tmp_path):
    with tiny_detectors():
        path, features, _ = compare(tmp_path, PRETRAINED_CONFIGS["torch"])
        other, _ = backbone_of(path, IMAGES, USUAL)
        assert np.abs(other - features).max() > 0.01 * features.max()


@pytest.mark.slow
def test_the_whole_classifier_becomes_the_whole_backbone(tmp_path):
    *_, table = compare(tmp_path)
    assert table["loaded, stored under another name"][0] == 265


# Another detector


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A checkpoint of a detector with slots up to 7, and a function that warm-starts another one from it."""

    def network(**changes):
        made = task(**changes)
        with tiny_detectors():
            made.network.forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)
        return made

    with tf.Graph().as_default(), tf1.Session() as session:
        network()
        load_by_name(tf1.global_variables(), session)
        path = tf1.train.Saver().save(
            session, str(tmp_path_factory.mktemp("detector") / "model.ckpt-9"), write_meta_graph=False
        )

    def start(reset, **changes):
        with tf.Graph().as_default(), tf1.Session() as session:
            made = network(**changes)
            variables = tf1.global_variables()
            session.run(tf1.global_variables_initializer())
            before = session.run({v.op.name: v for v in variables})
            found = load_warm_start(session, path, variables, made.training.warm_start_map, reset=reset)
            after = session.run({v.op.name: v for v in variables})
        loaded = {name for name, value in after.items() if (value == weights_by_name(name, value.shape)).all()}
        assert found.loaded == loaded
        return lines(found.table), loaded, {name for name in after if (before[name] == after[name]).all()}, set(after)

    return start


HEAD = {f"{PREDICTOR}/ClassPredictor/weights", f"{PREDICTOR}/ClassPredictor/biases"}


def test_a_detector_of_the_same_classes_gives_all_its_variables(detector):
    table, loaded, kept, names = detector(False)
    assert loaded == names
    assert not kept
    assert set(table) == {"loaded"}


def test_of_other_classes_the_head_begins_anew_and_it_alone(detector):
    table, loaded, kept, names = detector(False, num_classes=9)
    assert kept == HEAD
    assert loaded == names - HEAD
    assert table["new, the checkpoint has other classes"][0] == 2
    assert table["not used, for other classes"][0] == 2


@pytest.mark.parametrize("other", [{}, {"num_classes": 9}], ids=["as many classes", "other classes"])
def test_where_that_is_asked_for_the_classes_begin_anew_and_they_alone(detector, other):
    table, loaded, kept, names = detector(True, **other)
    assert kept == HEAD
    assert loaded == names - HEAD
    assert table["new, as requested"][0] == table["not used, new weights were requested"][0] == 2
    assert table["loaded"][0] == len(names) - 2


def start_with(path, variables, reset=False):
    with tf.Graph().as_default(), tf1.Session() as session:
        made = [tf1.get_variable(name, shape, use_resource=True) for name, shape in variables.items()]
        session.run(tf1.global_variables_initializer())
        return load_warm_start(session, Path(path), made, task().training.warm_start_map, reset=reset)


CONV1 = f"{BACKBONE}/conv1/weights"


@pytest.mark.parametrize("reset", [False, True])
def test_another_shape_of_anything_else_is_refused_whatever_is_asked_for(tmp_path, reset):
    path = save(tmp_path / "other", {"resnet_v1_50/conv1/weights": np.zeros((7, 7, 3, 32), np.float32)})
    message = r"conv1/weights has shape \[7, 7, 3, 32\], the network needs \[7, 7, 3, 64\] \(--finetune_checkpoint"
    with pytest.raises(RunError, match=message):
        start_with(path, {CONV1: [7, 7, 3, 64]}, reset)


def test_a_checkpoint_with_nothing_in_common_is_refused(tmp_path):
    stored = {f"{root}/weights": np.zeros(2, np.float32) for root in ("vgg_16", "alexnet", "squeezenet", "xception")}
    path = save(tmp_path / "other", stored)
    message = "has none of the network's variables; it holds variables of alexnet, squeezenet, vgg_16 "
    with pytest.raises(RunError, match=message):
        start_with(path, {CONV1: [2]})


def test_less_than_half_of_the_weights_is_another_network(tmp_path):
    path = save(tmp_path / "other", {"resnet_v1_50/conv1/weights": np.ones(2, np.float32)})
    others = {f"{BACKBONE}/conv1/BatchNorm/{kind}": [2] for kind in ("gamma", "beta")}
    message = r"has 1 of the network's 3 weights, less than half; it holds variables of resnet_v1_50 "
    with pytest.raises(RunError, match=message):
        start_with(path, {CONV1: [2], **others})
    assert "1  loaded" in start_with(path, {CONV1: [2], f"{BACKBONE}/conv1/BatchNorm/gamma": [2]}).table


def test_weights_that_are_no_numbers_are_named(tmp_path):
    path = save(tmp_path / "other", {"resnet_v1_50/conv1/weights": np.array([1, np.nan, np.inf], np.float32)})
    with pytest.raises(RunError, match="resnet_v1_50/conv1/weights: 2 of its 3 values are not finite"):
        start_with(path, {CONV1: [3]})


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = save(tmp_path / "other", {"resnet_v1_50/conv1/weights": np.ones(4096, np.float32)})
    data = next(tmp_path.glob("other.data*"))
    data.write_bytes(data.read_bytes()[:-4000])
    with pytest.raises(RunError, match=r"the checkpoint is damaged: resnet_v1_50/conv1/weights cannot be read"):
        start_with(path, {CONV1: [4096]})
    next(tmp_path.glob("other.index")).write_bytes(b"no index")
    with pytest.raises(RunError, match="the checkpoint is damaged"):
        start_with(path, {CONV1: [4096]})


def test_a_stem_in_other_units_is_divided_by_each_channels_deviation(tmp_path):
    kernel = np.ones((7, 7, 3, 2), np.float32)
    path = save(tmp_path / "own", {"resnet50/conv2d/conv2d/kernel": kernel})
    with tf.Graph().as_default(), tf1.Session() as session:
        variable = tf1.get_variable(CONV1, [7, 7, 3, 2], use_resource=True)
        load_warm_start(session, path, [variable], task().training.warm_start_map, reset=False)
        found = session.run(variable)
    np.testing.assert_allclose(found[3, 3], [[1 / 58.395] * 2, [1 / 57.12] * 2, [1 / 57.385] * 2], rtol=1e-6)
