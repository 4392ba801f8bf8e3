"""Images with several labels from training to prediction, reports and exports."""

import csv
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from model.layers.options import LayerOptions
from runtime.artefacts.frozen_graph import open_frozen_graph
from runtime.artefacts.saved_model import open_saved_model
from runtime.classification.losses import binary_cross_entropy
from runtime.classification.several_labels_presenter import SeveralLabelsPresenter
from runtime.classification.task import classification_task
from tests.runtime.runs import CLASSES, picture, run, several_labels, tiny_networks, train, write_data
from tests.runtime.tiny_classifier import batch, config
from tests.utils.input_records import run_graph
from tools.export import main as export
from tools.report import main as report
from utils.config import ExperimentConfig, ModelConfig
from utils.errors import RunError, UsageError
from utils.optimizer_config import OptimizerConfig
from utils.weights.checkpoint_files import read_metadata


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("several") / "data", validation=20, several=True)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A run of two epochs with an evaluation after each, and its report."""
    results = tmp_path_factory.mktemp("several") / "run"
    flags = ("--multi_label", "--num_iter=2", "--eval_every_epochs=1", "--lr_init=1", "--image_size=16")
    launch = run(
        *("--arch=resnet50", "--mode=train_and_evaluate", f"--data_dir={data}", f"--results_dir={results}"),
        *("--batch_size=4", "--lr_warmup_epochs=0", "--seed=3", *flags),
        report=True,
    )
    assert launch.status == 0, launch.error
    return launch, results


def test_the_best_checkpoint_has_the_best_mean_average_precision(trained):
    launch, results = trained
    of_epochs = [
        (entry["step"][1], entry["data"]["macro_average_precision"])
        for entry in launch.logged
        if len(entry["step"]) == 2 and "macro_average_precision" in entry["data"]
    ]
    assert [step for step, _ in of_epochs] == [5, 10]
    best = max(of_epochs, key=lambda pair: pair[1])[0]
    assert (results / "best" / f"model.ckpt-{best}.index").is_file()
    assert "binary_cross_entropy" in launch.logged[0]["data"]
    assert {"macro_f1", "micro_f1", "loss", "images", "intervals"} <= launch.summary.keys()
    assert read_metadata(results / "model.ckpt-10")["multi_label"] is True


def test_the_report_shows_figures_by_class_and_mistakes(trained):
    page = (trained[1] / "report.html").read_text()
    assert "Figures by class" in page
    assert "The most confident mistakes" in page
    assert "macro AP" in page
    assert all(name in page for name in CLASSES)


def test_records_with_several_labels_need_the_flag_in_training(data, trained, tmp_path):
    refused = train(data, tmp_path / "a", "--num_iter=1")
    assert refused.status == 2
    assert f"--data_dir {data}: its images have several labels each; give --multi_label" in refused.error
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in data.glob("*-of-*"):
        shutil.copy(file, bare)
    unknown = train(bare, tmp_path / "b", "--num_iter=1", "--num_classes=3")
    assert unknown.status == 1
    assert "image/class/label holds" in unknown.error
    assert "(--multi_label trains on several labels an image)" in unknown.error
    assert train(bare, tmp_path / "c", "--num_iter=1", "--num_classes=3", "--multi_label").status == 0


def test_a_run_goes_on_as_it_began(data, data_dir, trained):
    refused = train(data, trained[1], "--num_iter=3")
    assert refused.status == 2
    assert "--multi_label is not given: the checkpoint was trained on several labels an image" in refused.error


def test_records_with_one_label_are_read_with_the_flag_too(data_dir, tmp_path):
    launch = train(data_dir, tmp_path, "--num_iter=1", "--multi_label", mode="train_and_evaluate")
    assert launch.status == 0, launch.error
    assert launch.summary["images"] == 10


def test_a_network_of_one_label_is_not_scored_on_several(data, data_dir, tmp_path):
    assert train(data_dir, tmp_path, "--num_iter=1", "--iter_unit=batch").status == 0
    flags = (f"--data_dir={data}", "--batch_size=4", f"--results_dir={tmp_path / 'e'}")
    refused = run("--mode=evaluate", f"--model_dir={tmp_path}", *flags)
    assert refused.status == 2
    assert "its images have several labels each; the network knows one label an image" in refused.error


def evaluate(data, weights, results, *more):
    launch = run(
        *("--mode=evaluate", f"--data_dir={data}", "--batch_size=4", f"--model_dir={weights}"),
        *(f"--results_dir={results}", *more),
    )
    assert launch.status == 0, launch.error
    return launch.summary


def test_two_evaluations_are_compared_by_mean_average_precision(data, trained, tmp_path, capsys):
    for step in (5, 10):
        evaluate(data, trained[1] / f"model.ckpt-{step}", tmp_path / str(step))
    assert report([str(tmp_path / "5"), str(tmp_path / "10"), f"--output={tmp_path / 'both.html'}"]) == 0
    said = capsys.readouterr().out
    assert "20 images: mean average precision" in said
    assert "paired bootstrap, 1,000 resamples" in said


def test_predictions_are_the_classes_from_a_score_on(trained, tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(4):
        (tmp_path / "images" / f"{number}.png").write_bytes(picture(number, "validation"))
    listed = {}
    for score in ("0", "0.5", "1"):
        results = tmp_path / score
        flags = (f"--to_predict={tmp_path / 'images'}", f"--results_dir={results}", f"--min_score={score}")
        launch = run("--arch=resnet50", "--mode=predict", f"--model_dir={trained[1]}", *flags)
        assert launch.status == 0, launch.error
        listed[score] = json.loads((results / "predictions.json").read_text())
        with (results / "predictions.csv").open() as file:
            table = list(csv.DictReader(file))
        written = [(row["file"], row["name"]) for row in table if row["name"]]
        assert written == [(row["file"], one["name"]) for row in listed[score] for one in row["predictions"]]
        assert {row["file"] for row in table} == {row["file"] for row in listed[score]}
    for every, some, none in zip(*listed.values(), strict=True):
        probabilities = [one["probability"] for one in every["predictions"]]
        assert len(probabilities) == 3
        assert probabilities == sorted(probabilities, reverse=True)
        assert some["predictions"] == [one for one in every["predictions"] if one["probability"] >= 0.5]
        assert none["predictions"] == []


def test_a_score_for_a_network_of_one_label_is_refused(data_dir, tmp_path):
    assert train(data_dir, tmp_path, "--num_iter=1", "--iter_unit=batch").status == 0
    (tmp_path / "0.png").write_bytes(picture(0))
    flags = (f"--to_predict={tmp_path / '0.png'}", f"--results_dir={tmp_path / 'p'}", "--min_score=0.1")
    refused = run("--mode=predict", f"--model_dir={tmp_path}", *flags)
    assert refused.status == 2
    assert "--min_score 0.1: only used with ssd320" in refused.error
    assert "networks trained with --multi_label" in refused.error


def test_a_number_of_guesses_is_refused_for_several_labels(data, trained, tmp_path):
    flags = (f"--data_dir={data}", "--batch_size=4", f"--results_dir={tmp_path}", "--top_k=3")
    refused = run("--mode=evaluate", f"--model_dir={trained[1]}", *flags)
    assert refused.status == 2
    assert "--top_k 3: not used with networks trained with --multi_label; see --min_score" in refused.error


def test_exports_end_in_sigmoids_and_evaluate_like_the_checkpoint(data, trained, tmp_path):
    results = trained[1]
    flags = [f"--model_dir={results}", f"--data_dir={data}", f"--export_dir={tmp_path}", "--format=frozen,saved_model"]
    with tiny_networks():
        assert export([*flags, "--speed_seconds=0"]) == 0
    entries = json.loads((tmp_path / "export_report.json").read_text())["artefacts"]
    assert [(entry["status"], entry["metric"]) for entry in entries] == [("ok", "macro_average_precision")] * 2
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype(np.float32)
    for artefact in (open_frozen_graph(tmp_path / "model.pb"), open_saved_model(tmp_path / "saved_model")):
        assert artefact.metadata["multi_label"] is True
        found = run_graph(lambda artefact=artefact: artefact.forward(tf.constant(images)))
        np.testing.assert_allclose(found["probabilities"], 1 / (1 + np.exp(-found["logits"])), rtol=1e-5)
        assert not np.allclose(found["probabilities"].sum(axis=1), 1, atol=1e-3)
    of_export = evaluate(data, tmp_path / "saved_model", tmp_path / "e")
    of_checkpoint = evaluate(data, results / "model.ckpt-10", tmp_path / "c")
    keys = ("macro_average_precision", "macro_f1", "micro_f1", "loss")
    assert [of_export[key] for key in keys] == pytest.approx([of_checkpoint[key] for key in keys], rel=1e-5)


def training(**optimizer):
    given = config(loss="bce", **optimizer)
    model = ModelConfig(**{name: getattr(given.model, name) for name in given.model.__slots__} | {"multi_label": True})
    given = ExperimentConfig(model=model, data=given.data, optimizer=given.optimizer, run=given.run)
    with tiny_networks():
        return classification_task(given, {}, 5, LayerOptions()).training


def test_smoothing_and_mixup_act_on_each_class_and_weights_on_those_present():
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], np.float32)
    weights, logits = (1.0, 3.0, 0.5), np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)

    def build():
        found = []
        for how in (
            {"label_smoothing": 0.2},
            {"mixup_alpha": 0.5},
            {"weight_of_class": weights, "class_weights": "balanced"},
        ):
            taught = training(**how)
            read = batch([0] * 4)._replace(targets={"labels": tf.constant(labels)})
            _, targets = taught.prepare(read.images, read, tf.constant(3, tf.int64))
            losses = taught.losses({"logits": tf.constant(logits)}, targets, tf.ones([4]))
            found.append((targets["probabilities"], losses))
        return found

    (smooth, _), (mixed, plain), (kept, weighed) = run_graph(build)
    np.testing.assert_allclose(smooth, 0.8 * labels + 0.1, rtol=1e-6)
    share = mixed[0, 0]  # row 0 has class 0, and so has its counterpart, row 3
    assert share == pytest.approx(1.0)
    assert 0 < mixed[0, 1] < 1
    np.testing.assert_array_equal(kept, labels)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -(np.array(weights) * labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()
    assert weighed == {"binary_cross_entropy": pytest.approx(expected, rel=1e-5)}
    assert plain.keys() == weighed.keys()
    one = run_graph(lambda: binary_cross_entropy(tf.constant(logits), tf.constant(labels), tf.constant([1.0, 1, 1])))
    assert one == pytest.approx(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(axis=1), rel=1e-5)


def test_balanced_weights_count_labels(data, tmp_path):
    launch = train(data, tmp_path, "--multi_label", "--class_weights=balanced", "--num_iter=1", "--iter_unit=batch")
    assert launch.status == 0, launch.error
    counts = np.bincount([label - 1 for n in range(20) for label in several_labels(n)])
    np.testing.assert_allclose(launch.parameters["weight_of_class"], counts.sum() / 3 / counts)


def test_contradictions_are_sentences():
    several = ModelConfig(multi_label=True)
    with pytest.raises(UsageError, match="--loss focal: contradicts --multi_label, whose classes exclude no other"):
        ExperimentConfig(model=several, optimizer=OptimizerConfig(loss="focal"))


def test_examples_show_what_is_missed_and_what_is_wrong():
    presenter = SeveralLabelsPresenter(("a", "b"), 0.5)
    image = Image.new("RGB", (200, 100))
    right = presenter.example(image, {"classes": [[0, 0.9, 1]]})
    wrong = presenter.example(image, {"classes": [[0, 0.9, 0], [5, 0.1, 1]]})
    none = presenter.example(image, {"classes": []})
    colors = [shown.getpixel((199, shown.height - 1)) for shown in (right, wrong, none)]
    assert colors[0] == colors[2] != colors[1]
    with pytest.raises(RunError, match="not finite"):
        presenter.entries({"probabilities": np.array([np.nan])}, (1, 1))
