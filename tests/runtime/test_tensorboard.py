"""The output of runs for TensorBoard and trace viewers, compared with checkpoints, data and each other."""

import gzip
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from runtime.training.histograms import IMAGES
from tests.runtime.runs import CLASSES, assert_same_checkpoint, network, picture, run, train, values
from tests.runtime.scenes import picture_of, scene, write_scenes
from utils.images.lettering import MISSED, RIGHT, WRONG
from utils.reporting.evaluation_file import EVALUATION_NAME, read_evaluation

tf1 = tf.compat.v1
KERNEL = "resnet50/conv2d/conv2d/kernel"
FLAGS = ("--num_iter=2", "--display_every=1", "--checkpoint_every=1", "--keep_checkpoints=20", "--deterministic")
LARGEST_GRAPH_BYTES = 500_000


def events(folder):
    return [e for path in sorted(folder.glob("events.*")) for e in tf1.train.summary_iterator(str(path))]


def summaries(folder, kind):
    """Values of a kind by step and tag."""
    found = [(event.step, value) for event in events(folder) for value in event.summary.value]
    return {(step, value.tag): getattr(value, kind) for step, value in found if value.WhichOneof("value") == kind}


def graphs(folder):
    return [event.graph_def for event in events(folder) if event.WhichOneof("what") == "graph_def"]


def trace(path):
    """The complete events of a trace, in their order."""
    return [event for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"] if event["ph"] == "X"]


def pixels(encoded):
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"), int)


def share_of(color, picture):
    """The fraction of pixels with a color, within the accuracy of JPEG."""
    return (np.abs(picture - np.array(color)).max(axis=-1) < 40).mean()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data_dir):
    """Ten steps and an evaluation, with and without histograms and a trace."""
    folder = tmp_path_factory.mktemp("tensorboard")
    asked = ("--histograms_every=5", "--profile=3,4")
    looked_at = train(data_dir, folder / "looked_at", *FLAGS, *asked, mode="train_and_evaluate")
    plain = train(data_dir, folder / "plain", *FLAGS, mode="train_and_evaluate")
    assert (looked_at.status, plain.status) == (0, 0), looked_at.error + plain.error
    return SimpleNamespace(folder=folder, looked_at=looked_at, plain=plain)


@pytest.mark.slow
def test_looking_changes_no_number(runs):
    assert runs.looked_at.losses == runs.plain.losses
    assert len(runs.plain.losses) == 10
    for step in (4, 5, 10):
        assert_same_checkpoint(runs.folder / f"looked_at/model.ckpt-{step}", runs.folder / f"plain/model.ckpt-{step}")


def test_without_flags_there_are_neither_histograms_nor_traces(runs):
    plain = runs.folder / "plain"
    assert not summaries(plain, "histo")
    assert not (plain / "plugins").exists()
    assert not [*plain.glob("trace-*")]
    assert summaries(plain, "simple_value").keys() >= {(step, "total_loss") for step in range(1, 11)}


def test_the_graph_is_written_once_and_small(runs, data_dir):
    folder = runs.folder / "plain"
    (graph,) = graphs(folder)
    assert len(graph) < LARGEST_GRAPH_BYTES
    names = {node.name: node.op for node in tf1.GraphDef.FromString(graph).node}
    assert names[KERNEL] == "VarHandleOp"
    assert {"Conv2D", "FusedBatchNormV3", "ResourceApplyMomentum"} <= set(names.values())
    resumed = train(data_dir, folder, *FLAGS, "--num_iter=3", "--run_iter=1", mode="train")
    assert resumed.status == 0, resumed.error
    assert (15, "total_loss") in summaries(folder, "simple_value")
    assert len(graphs(folder)) == 1


def test_histograms_have_the_moments_of_the_variables(runs):
    folder = runs.folder / "looked_at"
    found = summaries(folder, "histo")
    assert {step for step, _ in found} == {5, 10}
    stored = values(folder / "model.ckpt-5")
    shown = [tag.removeprefix("weights/") for step, tag in found if step == 5 and tag.startswith("weights/")]
    assert set(shown) == {name.removesuffix("/Momentum") for name in stored if name.endswith("/Momentum")}
    for name in shown:
        assert_moments(found[5, f"weights/{name}"], stored[name])


def test_gradients_are_those_that_the_momentum_took_in(runs):
    folder = runs.folder / "looked_at"
    before, after = (values(folder / f"model.ckpt-{step}")[f"{KERNEL}/Momentum"] for step in (4, 5))
    assert_moments(summaries(folder, "histo")[5, f"gradients/{KERNEL}"], after - 0.9 * before, relative=1e-4)


def test_activations_are_those_of_the_first_images(runs):
    found = summaries(runs.folder / "looked_at", "histo")
    probabilities = found[10, "activations/probabilities"]
    assert probabilities.num == IMAGES * len(CLASSES)
    assert probabilities.sum == pytest.approx(IMAGES)
    stage = found[10, "activations/stage_0"]
    assert (stage.min, stage.num) == (0, IMAGES * 4 * 4 * 8)  # after ReLU; 8 channels of 4 x 4 pixels
    assert stage.max > 0


def assert_moments(histogram, array, relative=1e-6):
    array = array.astype(np.float64)
    assert histogram.num == array.size == sum(histogram.bucket)
    assert (histogram.min, histogram.max) == pytest.approx((array.min(), array.max()), rel=relative)
    assert histogram.sum == pytest.approx(array.sum(), rel=relative, abs=relative * np.abs(array).sum())
    assert histogram.sum_squares == pytest.approx((array**2).sum(), rel=relative)


def test_an_evaluation_shows_examples_with_what_was_predicted(runs):
    shown = summaries(runs.folder / "plain" / "eval", "image")
    indices = [0, 1, 3, 4, 5, 6, 8, 9]  # eight of ten, evenly
    assert [*shown] == [(10, f"examples/{index}") for index in indices]
    mistakes = {entry["index"] for entry in read_evaluation(runs.folder / "plain" / EVALUATION_NAME)["pictures"]}
    for index, image in zip(indices, shown.values(), strict=True):
        seen, original = pixels(image.encoded_image_string), pixels(picture(index, "validation"))
        assert seen.shape == (image.height, image.width, 3)
        factor = image.width // original.shape[1]
        above = seen[: factor * original.shape[0]]
        assert np.abs(above.mean(axis=(0, 1)) - original.mean(axis=(0, 1))).max() < 3
        below = seen[factor * original.shape[0] :]
        wrong, right = share_of(WRONG, below), share_of(RIGHT, below)
        assert (wrong > 0.5, right > 0.5) == (index in mistakes, index not in mistakes)
        assert share_of((0, 0, 0), below) > 0.02  # letters


def test_a_trace_has_the_network_in_the_steps_asked_for(runs):
    found = trace(runs.folder / "looked_at" / "trace-3-4.json.gz")
    steps = [event for event in found if event["name"] == "train"]
    assert [event["args"]["step_num"] for event in steps] == [3, 4]
    end = steps[1]["ts"] + steps[1]["dur"]
    assert all(event["ts"] >= 0 and event["ts"] + event["dur"] <= end + 0.01 for event in found)
    for step in steps:
        within = [e for e in found if step["ts"] <= e["ts"] and e["ts"] + e["dur"] <= step["ts"] + step["dur"]]
        assert sum(event["name"] == "resnet50/conv2d/FusedBatchNormV3" for event in within) == 1
        assert [e for e in within if e["name"].startswith("gradients/resnet50/")]
    assert len([*(runs.folder / "looked_at").glob("plugins/profile/*/*.xplane.pb")]) == 1
    assert "trace of steps 3 to 4: " in runs.looked_at.error
    assert runs.looked_at.parameters["profile"] == "3,4"


def test_an_evaluation_can_be_traced(runs, data_dir, tmp_path):
    flags = (f"--model_dir={runs.folder / 'plain' / 'model.ckpt-10'}", "--batch_size=4", "--profile=2,3")
    launch = run(*network(data_dir, tmp_path, "evaluate"), *flags)
    assert launch.status == 0, launch.error
    found = trace(tmp_path / "trace-2-3.json.gz")
    assert [event["args"]["step_num"] for event in found if event["name"] == "eval"] == [2, 3]
    assert not [event for event in found if event["name"].startswith("gradients/")]
    assert (10, "examples/0") in summaries(tmp_path / "eval", "image")


@pytest.mark.parametrize(
    ("mode", "profile", "sentence"),
    [
        ("train", "11,12", "--profile 11,12: begins after the end of the run, which has 10 steps"),
        ("evaluate", "4,5", "--profile 4,5: begins after the end of the run, which has 3 batches"),
        ("train", "3,300", "--profile 3,300: must be FROM,TO: "),
    ],
)
def test_a_trace_that_cannot_be_is_refused(runs, data_dir, tmp_path, mode, profile, sentence):
    flags = (f"--model_dir={runs.folder / 'plain'}",) if mode == "evaluate" else ("--num_iter=2",)
    arguments = (*network(data_dir, tmp_path, mode), "--batch_size=4", *flags, f"--profile={profile}")
    if profile == "3,300":
        with pytest.raises(Exception, match=sentence):
            run(*arguments)
        return
    launch = run(*arguments)
    assert (launch.status, sentence in launch.error) == (2, True), launch.error


def test_a_benchmark_can_be_traced_and_stops_where_it_ends(tmp_path):
    flags = ("--arch=resnet50", "--mode=training_benchmark", "--image_size=16", "--num_classes=3", "--batch_size=4")
    launch = run(
        *flags, "--num_iter=4", "--iter_unit=batch", "--warmup_steps=1", "--profile=3,9", f"--results_dir={tmp_path}"
    )
    assert launch.status == 0, launch.error
    assert [e["args"]["step_num"] for e in trace(tmp_path / "trace-3-4.json.gz") if e["name"] == "train"] == [3, 4]
    assert "--profile 3,9: the loop began or ended within these steps" in launch.error


def test_gradients_that_are_not_finite_end_with_the_usual_sentence(data_dir, tmp_path):
    launch = train(data_dir, tmp_path, "--lr_init=1e30", "--num_iter=2", "--histograms_every=1")
    assert launch.status == 1
    assert "is nan; stopped before the weights are saved" in launch.error or "is inf; stopped" in launch.error


@pytest.mark.slow
def test_a_detectors_examples_hold_its_boxes(tmp_path):
    data = write_scenes(tmp_path / "data")
    flags = ("--arch=ssd320", "--mode=train_and_evaluate", "--image_size=64", "--seed=3", "--num_iter=1")
    arguments = (*flags, f"--data_dir={data}", "--batch_size=4", f"--results_dir={tmp_path}", "--histograms_every=2")
    launch = run(*arguments)
    assert launch.status == 0, launch.error
    shown = summaries(tmp_path / "eval", "image")
    assert [*shown] == [(2, f"examples/{index}") for index in range(6)]
    for index, image in enumerate(shown.values()):
        things = scene(1000 + index)
        seen, original = pixels(image.encoded_image_string), pixels(picture_of(things, 1000 + index))
        assert seen.shape == original.shape
        drawn = np.abs(seen - original).max(axis=-1) > 80
        assert 0 < drawn.mean() < 0.9
    seen = [pixels(image.encoded_image_string) for image in shown.values()]
    assert sum(share_of(WRONG, picture) + share_of(MISSED, picture) for picture in seen) > 0.1
    backbone = "FeatureExtractor/resnet_v1_50/block1/unit_1/bottleneck_v1/conv1/weights"
    histograms = {tag for _, tag in summaries(tmp_path, "histo")}
    assert {"activations/level_3", "activations/class_logits", f"gradients/{backbone}"} <= histograms
    (graph,) = graphs(tmp_path)
    assert len(graph) < 6 * LARGEST_GRAPH_BYTES
