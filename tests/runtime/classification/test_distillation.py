"""Training by a teacher: its logits, the loss, and the runs that it takes part in."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from runtime.artefacts.formats import FORMATS
from runtime.classification.losses import divergence
from runtime.classification.teacher import _check
from runtime.evaluation import load_weights
from runtime.inference.network import network_with_variables
from runtime.setup.set_up import set_up
from tests.runtime.artefacts.exports import export, formats
from tests.runtime.processes import ALONE
from tests.runtime.runs import assert_same_checkpoint, network, tiny_networks, train, values
from tests.utils.checkpoints.weights import without_checksums
from utils.cmdline_helper import parse
from utils.errors import UsageError
from utils.input.batching import Position, Shard
from utils.weights.checkpoint_files import read_metadata

tf1 = tf.compat.v1
STEPS = ("--num_iter=2", "--iter_unit=batch", "--lr_init=0.5", "--display_every=1", "--checkpoint_every=1")


def taught(data, results, teacher, *more, arch="resnet18"):
    return train(data, results, *STEPS, f"--distill_from={teacher}", *more, f"--arch={arch}")


def losses(result):
    """The losses of the first step by name, without the decay."""
    first = next(record["data"] for record in result.logged if "distillation_loss" in record["data"])
    return {key: first[key] for key in ("weighted_cross_entropy", "distillation_loss")}


def test_the_divergence_is_that_of_the_tempered_softmax_in_float64():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 5, 4)) * 3

    def tempered(logits):
        powers = np.exp(logits / 2.5)
        return powers / powers.sum(axis=1, keepdims=True)

    ours, theirs = tempered(student), tempered(teacher)
    with tf.Graph().as_default(), tf1.Session() as session:
        found = session.run(divergence(*(tf.constant(x, tf.float32) for x in (teacher, student)), 2.5))
        same = session.run(divergence(*[tf.constant(teacher, tf.float32)] * 2, 2.5))
    np.testing.assert_allclose(found, np.sum(theirs * np.log(theirs / ours), axis=1), rtol=1e-5)
    assert np.all(np.abs(same) < 1e-6)


@pytest.fixture(scope="module")
def student(data_dir, trained, tmp_path_factory):
    """Two steps of a student with another architecture. Tests must not change them."""
    results = tmp_path_factory.mktemp("student") / "run"
    result = taught(data_dir, results, trained, "--mixup=0.5", "--distill_alpha=0.3", "--distill_temperature=4")
    assert result.status == 0, result.error
    return results, result


def test_a_student_keeps_no_trace_of_its_teacher_but_a_fingerprint(student, trained):
    results, _ = student
    stored = values(results / "model.ckpt-2")
    assert {name.split("/")[0] for name in stored} == {"resnet18", "global_step"}
    metadata = read_metadata(results / "model.ckpt-2")
    assert len(metadata["teacher"]) == 16
    assert metadata["tuning"] == {"distill_alpha": 0.3, "distill_temperature": 4.0}


@contextlib.contextmanager
def student_of(data, teacher, *flags):
    """The setup of a student without a step."""
    command = (*network(data, "unused", "train", arch="resnet18"), "--batch_size=4", "--seed=3", "--cpu", *flags)
    with tiny_networks():
        yield set_up(parse([*command, f"--distill_from={teacher}"], {}).config, ALONE)


def logits_of(setup, checkpoint, pixels):
    """The logits of a checkpoint's own network for raw images, not folded."""
    with tf.Graph().as_default() as graph:
        found = network_with_variables(setup.teacher.task, tf.constant(pixels))
    with tf1.Session(graph=graph) as session:
        load_weights(session, found.weights, checkpoint)
        return session.run(found.endpoints["logits"])


@pytest.fixture(scope="module")
def first_batch(data_dir, trained):
    """The first mixed batch of the student's run as raw pixels, and the logits of its teacher."""
    with student_of(data_dir, trained, "--mixup=0.5") as setup, tf.Graph().as_default():
        data, own = setup.task.data.input("train", Shard(), Position()), setup.task.network
        step = tf.constant(0, tf.int64)
        images, _ = setup.task.training.prepare(own.normalize(data.batch.images), data.batch, step)
        raw = images * tf.constant(own.std_rgb) + tf.constant(own.mean_rgb)
        with tf1.Session() as session:
            session.run(data.initializer)
            pixels = session.run(raw)
        return pixels, logits_of(setup, trained / "model.ckpt-5", pixels)


def test_both_losses_have_their_weights_and_the_teacher_sees_mixed_images(student, first_batch):
    """A new student's logits are all 0, so its probabilities are a third each."""
    found = losses(student[1])
    assert found["weighted_cross_entropy"] == pytest.approx(0.7 * np.log(3), rel=1e-5)
    powers = np.exp(first_batch[1].astype(np.float64) / 4)
    tempered = powers / powers.sum(axis=1, keepdims=True)
    expected = 0.3 * 16 * np.mean(np.sum(tempered * np.log(tempered * 3), axis=1))
    assert expected > 1e-4
    assert found["distillation_loss"] == pytest.approx(expected, rel=1e-3)


def test_a_teacher_normalizes_as_it_was_trained_whatever_its_student_does(data_dir, trained, tmp_path, first_batch):
    shutil.copytree(trained, tmp_path / "teacher", ignore=shutil.ignore_patterns("best", "*.html"))
    description = without_checksums(tmp_path / "teacher" / "model.ckpt-5.json")
    description["preprocessing"] = {"mean_rgb": [10, 20, 30], "std_rgb": [2, 3, 4], "range": [0, 255]}
    (tmp_path / "teacher" / "model.ckpt-5.json").write_text(json.dumps(description))
    pixels, usual = first_batch
    found = {}
    for teacher in (trained, tmp_path / "teacher"):
        with student_of(data_dir, teacher) as setup, tf.Graph().as_default(), tf1.Session() as session:
            logits = setup.teacher.logits(tf.constant(pixels))
            setup.teacher.load(session, None)
            found[teacher] = session.run(logits)
            assert tf1.global_variables() == []
            assert setup.task.network.mean_rgb != (10, 20, 30)
        np.testing.assert_allclose(
            found[teacher], logits_of(setup, teacher / "model.ckpt-5", pixels), rtol=1e-3, atol=1e-4
        )
    np.testing.assert_allclose(found[trained], usual, rtol=1e-3, atol=1e-4)
    assert np.abs(found[tmp_path / "teacher"] - usual).max() > 0.01


def test_parts_of_a_batch_are_taught_as_the_whole_one(data_dir, trained, student, tmp_path):
    flags = ("--mixup=0.5", "--distill_alpha=0.3", "--distill_temperature=4", "--batch_size=2", "--accumulate_steps=2")
    result = taught(data_dir, tmp_path / "run", trained, *flags, "--num_iter=1")
    assert result.status == 0, result.error
    for key, value in losses(student[1]).items():
        assert losses(result)[key] == pytest.approx(value, rel=1e-4)


def test_a_resumed_run_finds_its_teacher_and_says_if_it_is_another(data_dir, trained, student, tmp_path):
    results, _ = student
    (tmp_path / "run").mkdir()
    for file in results.glob("model.ckpt-1.*"):
        shutil.copy(file, tmp_path / "run")
    tf1.train.update_checkpoint_state(str(tmp_path / "run"), str(tmp_path / "run" / "model.ckpt-1"))
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    flags = ("--mixup=0.5", "--distill_alpha=0.3", "--distill_temperature=4")
    shutil.copytree(trained, tmp_path / "moved")
    resumed = taught(data_dir, tmp_path / "run", tmp_path / "moved", *flags)
    assert resumed.status == 0, resumed.error
    assert "so far in this run" not in resumed.error
    assert_same_checkpoint(results / "model.ckpt-2", tmp_path / "run" / "model.ckpt-2")
    other = taught(data_dir, tmp_path / "other", results, "--mixup=0.5", "--distill_alpha=0.6")
    assert other.status == 0, other.error
    assert (
        f"--distill_from {results}: other weights of a teacher so far in this run, this one from here on" in other.error
    )
    assert "--distill_alpha: 0.3 so far in this run, 0.6 from here on" in other.error
    assert "--distill_temperature: 4 so far in this run, 2 from here on" in other.error


@pytest.mark.slow
@pytest.mark.parametrize("name", formats("saved_model", "onnx", "tflite", "openvino"))
def test_any_artefact_teaches_like_its_checkpoint(name, data_dir, trained, tmp_path):
    made = export(tmp_path / "models", f"--model_dir={trained}", f"--format={name}")
    assert made.status == 0, made.error
    path = tmp_path / "models" / FORMATS[name].file
    flags = ("--num_iter=1", "--distill_temperature=4")
    own = taught(data_dir, tmp_path / "own", trained, *flags)
    for number, batch in enumerate((("--batch_size=4",), ("--batch_size=2", "--accumulate_steps=2"))):
        result = taught(data_dir, tmp_path / f"run{number}", path, *flags, *batch)
        assert result.status == 0, result.error
        assert losses(result)["distillation_loss"] == pytest.approx(losses(own)["distillation_loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_classes": 4}, "has 4 classes, but this run has 3; both must have the same classes"),
        (
            {"class_names": ["circle", "dot", "square"], "data_class_names": None},
            "its class 1 is 'dot', but here it is 'line'; both must have the same classes in the same order",
        ),
        ({"label_offset": 0}, "its logit 0 is label 0 of the records, but that of this run is label 1"),
        ({"task": "detection"}, "is a detector (ssd320); only a classifier can teach one"),
        (
            {"preprocessing": {"range": [0, 1]}},
            "was trained on pixels in [0, 1]; only those in [0, 255] can be given to it",
        ),
    ],
)
def test_a_teacher_that_cannot_teach_is_a_sentence(change, message):
    own = {"num_classes": 3, "label_offset": 1, "class_names": ["circle", "line", "square"]}
    _check(Path("T"), own, own)
    with pytest.raises(UsageError, match=re.escape(f"--distill_from T: {message}")):
        _check(Path("T"), own | change, own)


def test_what_is_no_teacher_is_refused_and_nothing_is_written(data_dir, detector, trained, tmp_path):
    run_of = tmp_path / "run"
    for teacher, status, message in (
        (detector, 2, "is a detector (ssd320); only a classifier can teach one"),
        (tmp_path / "none", 1, f"--distill_from {tmp_path / 'none'}: "),
        (tmp_path / "none.onnx", 1, f"--distill_from {tmp_path / 'none.onnx'}: no such file"),
    ):
        refused = taught(data_dir, run_of, teacher)
        assert (refused.status, message in refused.error) == (status, True), refused.error
        assert not list(run_of.glob("model.ckpt*"))
    copied = shutil.copytree(trained, tmp_path / "copy")
    refused = taught(data_dir, copied, copied, arch="resnet50")
    assert refused.status == 2
    assert "is the folder of this run, whose network cannot teach itself" in refused.error
