"""Launches with --folds: what they train and validate on, resuming, evaluation, and refusals."""

import json

import numpy as np
import pytest

from tests.runtime.runs import assert_same_checkpoint, at_step, run, train, write_data
from utils.records.folds import folds_of
from utils.reporting.evaluation_file import read_evaluation
from utils.reporting.paired_tests import results_of, why_different
from utils.reporting.per_image import answers_of
from utils.reporting.run_log import read_run

FOLDS = ("--folds=4", "--fold=1")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"), train=24)


@pytest.fixture(scope="module")
def held_out(data):
    """The images of fold 1 of 4 made from seed 3, six of 24."""
    _, assigned = folds_of(data, 4, 3)
    return [index for index, fold in enumerate(assigned) if fold == 1]


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Two epochs of four steps on three folds, and the examples of each batch."""
    folder = tmp_path_factory.mktemp("run")
    with at_step(0, lambda: None) as seen:
        result = train(data, folder, *FOLDS, "--num_iter=2", mode="train_and_evaluate")
    assert result.status == 0, result.error
    return folder, result, seen


def test_the_fold_is_validated_on_and_never_trained_on(data, trained, held_out):
    folder, result, seen = trained
    assert len(held_out) == 6
    read = np.concatenate([batch.ravel() for batch in seen])
    assert len(read) == 2 * 16  # 18 images of the other folds make four batches of four
    assert not set(read.tolist()) & set(held_out)
    evaluation = read_evaluation(folder / "evaluation.json")
    answers = answers_of(evaluation)
    assert answers["index"].tolist() == held_out
    np.testing.assert_array_equal(answers["label"], np.array(held_out) % 3)  # as the records say
    assert result.summary["images"] == 6
    assert (result.parameters["folds"], result.parameters["fold"]) == (4, 1)


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_weights(data, trained, tmp_path):
    for _ in range(2):
        half = train(data, tmp_path, *FOLDS, "--num_iter=8", "--run_iter=5", "--iter_unit=batch")
        assert half.status == 0, half.error
    assert_same_checkpoint(tmp_path / "model.ckpt-8", trained[0] / "model.ckpt-8")


def test_an_evaluation_uses_the_folds_of_the_training(data, trained, held_out, tmp_path):
    flags = ("--mode=evaluate", f"--data_dir={data}", "--batch_size=4", f"--model_dir={trained[0]}")
    fold = run(*flags, *FOLDS, f"--results_dir={tmp_path / 'fold'}", "--console=readable")
    assert fold.status == 0, fold.error
    assert "6 images to evaluate on, fold 1 of 4 (from 0)" in " ".join(fold.output.split())
    assert answers_of(read_evaluation(tmp_path / "fold" / "evaluation.json"))["index"].tolist() == held_out
    validation = run(*flags, f"--results_dir={tmp_path / 'validation'}")
    assert (validation.status, validation.summary["images"]) == (0, 10)
    again, other = (results_of(read_run(place)) for place in (trained[0], tmp_path / "fold"))
    assert why_different(again, other) is None
    assert "different images" in why_different(again, results_of(read_run(tmp_path / "validation")))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--folds=4", "--fold=2"), "--folds 4 --fold 2: {} was trained with --folds 4 --fold 1, and a run keeps"),
        (("--folds=3", "--fold=1"), "--folds 3 --fold 1: {} was trained with --folds 4 --fold 1, and a run keeps"),
        ((), "no --folds: {} was trained with --folds 4 --fold 1, and a run keeps its training and validation images"),
        ((*FOLDS, "--seed=5"), "--seed 5: {} was trained on folds made from seed 3, and other folds would validate on"),
    ],
)
def test_a_run_cannot_continue_on_other_images(data, trained, flags, message):
    resumed = train(data, trained[0], *flags, "--num_iter=3", mode="train_and_evaluate", seed=None)
    assert resumed.status == 2
    assert message.format(trained[0] / "model.ckpt-8") in resumed.error
    if flags:
        common = (f"--data_dir={data}", "--batch_size=4", f"--model_dir={trained[0]}", f"--results_dir={trained[0]}")
        evaluated = run("--mode=evaluate", *common, *flags)
        assert (evaluated.status, message.format(trained[0] / "model.ckpt-8") in evaluated.error) == (2, True)


def test_weights_that_held_nothing_out_are_evaluated_with_a_warning(data, tmp_path):
    assert train(data, tmp_path / "run", "--num_iter=1").status == 0
    flags = (f"--data_dir={data}", "--batch_size=4", f"--model_dir={tmp_path / 'run'}", f"--results_dir={tmp_path}")
    fold = run("--mode=evaluate", *flags, *FOLDS)
    assert (fold.status, fold.summary["images"]) == (0, 6)
    assert "does not say that it held out these images, so it may have been trained on them" in fold.error
    resumed = train(data, tmp_path / "run", *FOLDS, "--num_iter=2")
    assert resumed.status == 2
    assert "was trained with no --folds, and a run keeps its training and validation images" in resumed.error


def test_a_class_with_fewer_images_than_folds_is_refused_before_anything_is_written(data, tmp_path):
    refused = train(data, tmp_path, "--folds=9", "--fold=0")
    assert refused.status == 2
    assert "--folds 9: class circle has 8 training images; must be at most the number of images" in refused.error
    assert not [*tmp_path.glob("model.ckpt*")]


def test_the_description_of_a_checkpoint_names_the_folds(trained):
    described = json.loads((trained[0] / "model.ckpt-8.json").read_text())
    assert (described["folds"], described["seed"]) == ([4, 1], 3)
