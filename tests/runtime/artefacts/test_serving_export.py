"""A SavedModel predicts the same as an evaluation of its weights, under the names that other tools rely on."""

import errno
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from tests.runtime.runs import CLASSES, network, picture, run, train, values
from utils.image_processing import eval_preprocess
from utils.weights.checkpoint_files import read_metadata

tf1 = tf.compat.v1
SIZE = 16


@pytest.fixture(scope="module")
def exported(data_dir, trained, tmp_path_factory):
    """The folder of --export_dir after an evaluation, and the launch."""
    folder = tmp_path_factory.mktemp("export") / "models"
    flags = (f"--model_dir={trained}", "--batch_size=4", f"--export_dir={folder}")
    result = run(*network(data_dir, tmp_path_factory.mktemp("export"), "evaluate"), *flags)
    assert result.status == 0, result.error
    return folder, result


def model_in(folder):
    (model,) = folder.iterdir()
    return model


def load(model):
    """A fresh session with the model, and its meta graph."""
    session = tf1.Session(graph=tf.Graph())
    with session.graph.as_default():
        return session, tf1.saved_model.load(session, [tf1.saved_model.tag_constants.SERVING], str(model))


def images(count=10):
    """The validation images as fed to the network: 0..255, resized and cropped."""
    with tf.Graph().as_default(), tf1.Session() as session:
        return session.run(
            tf.stack([eval_preprocess(tf.constant(picture(i, "validation")), SIZE) for i in range(count)])
        )


@pytest.mark.slow
def test_the_folder_is_named_by_the_time_and_the_summary_names_it(exported):
    folder, result = exported
    model = model_in(folder)
    assert model.name.isdigit()
    assert int(model.name) > 1.7e9
    assert result.summary["export_dir"] == str(model)
    assert "eval_throughput" in result.summary


def test_signatures_and_tensors_have_their_public_names(exported):
    session, meta = load(model_in(exported[0]))
    with session:
        assert set(meta.signature_def) == {"serving_default", "predict", "encoded", "network"}
        for signature in (meta.signature_def[name] for name in ("serving_default", "predict")):
            assert signature.method_name == "tensorflow/serving/predict"
            names = {key: (v.name, v.dtype) for key, v in {**signature.inputs, **signature.outputs}.items()}
            assert names == {
                "input": ("input_tensor:0", tf.float32.as_datatype_enum),
                "classes": ("ArgMax:0", tf.int32.as_datatype_enum),
                "probabilities": ("resnet50/output/softmax:0", tf.float32.as_datatype_enum),
            }
            shapes = {
                key: [dim.size for dim in v.tensor_shape.dim]
                for key, v in {**signature.inputs, **signature.outputs}.items()
            }
            assert shapes == {"input": [-1, SIZE, SIZE, 3], "classes": [-1], "probabilities": [-1, 3]}


def test_a_model_gives_what_evaluation_gives(exported):
    session, _ = load(model_in(exported[0]))
    with session:
        probabilities, classes = session.run(["resnet50/output/softmax:0", "ArgMax:0"], {"input_tensor:0": images()})
    labels = np.arange(10) % 3
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(classes, probabilities.argmax(axis=1))
    summary = exported[1].summary
    assert (classes == labels).mean() == summary["top1_accuracy"]
    assert -np.log(probabilities[np.arange(10), labels]).mean() == pytest.approx(summary["loss"], rel=1e-4)


def test_a_model_takes_any_batch(exported):
    session, _ = load(model_in(exported[0]))
    batch = images(4)
    with session:
        fetch = "resnet50/output/softmax:0"
        whole = session.run(fetch, {"input_tensor:0": batch})
        single = [session.run(fetch, {"input_tensor:0": batch[i : i + 1]})[0] for i in range(4)]
    np.testing.assert_allclose(whole, single, rtol=1e-4, atol=1e-6)


def test_a_model_brings_what_its_weights_mean(exported, trained):
    metadata = json.loads((model_in(exported[0]) / "assets.extra" / "metadata.json").read_text())
    assert metadata["class_names"] == list(CLASSES)
    assert metadata["image_size"] == SIZE
    assert metadata["step"] == read_metadata(trained / "model.ckpt-5")["step"]


@pytest.mark.slow
def test_training_exports_its_last_step(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr("runtime.artefacts.serving_export.time.time", lambda: 1_800_000_000.5)
    (tmp_path / "models" / "1800000000").mkdir(parents=True)  # another export in the same second
    result = train(data_dir, tmp_path / "run", "--num_iter=1", f"--export_dir={tmp_path / 'models'}")
    assert result.status == 0, result.error
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["1800000000", "1800000001"]
    assert result.summary["export_dir"] == str(tmp_path / "models" / "1800000001")
    found = values(tmp_path / "models" / "1800000001" / "variables" / "variables")
    stored = values(tmp_path / "run" / "model.ckpt-5")
    assert {name for name in stored if "Momentum" not in name and name != "global_step"} == set(found)
    assert all(np.array_equal(stored[name], value) for name, value in found.items())


def evaluated(data_dir, tmp_path, trained, export_dir, *more):
    flags = (f"--model_dir={trained}", "--batch_size=4", f"--export_dir={export_dir}", *more)
    return run(*network(data_dir, tmp_path, "evaluate"), *flags)


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work_begins(data_dir, tmp_path, trained):
    (tmp_path / "file").touch()
    result = evaluated(data_dir, tmp_path, trained, tmp_path / "file" / "models")
    assert result.status == 2
    assert f"--export_dir {tmp_path}/file/models: cannot be written to: Not a directory" in result.error
    assert result.logged == []


@pytest.mark.slow
def test_a_disk_that_fills_up_is_a_sentence(data_dir, tmp_path, trained, monkeypatch):
    def refuse(session, graph, signatures, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("runtime.artefacts.saved_model._write", refuse)
    result = evaluated(data_dir, tmp_path, trained, tmp_path / "models")
    assert result.status == 1
    assert f"--export_dir {tmp_path}/models: cannot be written to: [Errno 28] No space left on device" in result.error
    assert [*(tmp_path / "models").iterdir()] == []


@pytest.mark.slow
def test_a_model_that_differs_never_looks_finished(data_dir, tmp_path, trained, monkeypatch):
    monkeypatch.setattr("runtime.artefacts.serving_export.signatures_differ", lambda largest: "signatures differ")
    result = evaluated(data_dir, tmp_path, trained, tmp_path / "models")
    assert result.status == 1
    (model,) = (tmp_path / "models" / "unverified" / "serving").iterdir()
    assert f"{model}: differs from {trained}/model.ckpt-5: signatures differ" in result.error
    assert json.loads((model / "assets.extra" / "export_report.json").read_text())["reason"] == "signatures differ"
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["unverified"]


@pytest.mark.slow
def test_a_checkpoint_of_another_program_is_exported_with_what_the_flags_say(data_dir, tmp_path, trained):
    for path in itertools.chain(trained.glob("model.ckpt-5.data*"), trained.glob("model.ckpt-5.index")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    result = evaluated(data_dir, tmp_path, tmp_path / "model.ckpt-5", tmp_path / "models")
    assert result.status == 0, result.error
    metadata = json.loads((model_in(tmp_path / "models") / "assets.extra" / "metadata.json").read_text())
    assert (metadata["image_size"], metadata["num_classes"]) == (SIZE, 3)


@pytest.mark.slow
def test_another_image_size_is_that_of_the_model_and_of_its_metadata(data_dir, tmp_path, trained):
    result = evaluated(data_dir, tmp_path, trained, tmp_path / "models", "--image_size=24")
    assert result.status == 0, result.error
    session, meta = load(model_in(tmp_path / "models"))
    session.close()
    dims = meta.signature_def["predict"].inputs["input"].tensor_shape.dim
    assert [dim.size for dim in dims] == [-1, 24, 24, 3]
    metadata = json.loads((model_in(tmp_path / "models") / "assets.extra" / "metadata.json").read_text())
    assert metadata["image_size"] == 24
