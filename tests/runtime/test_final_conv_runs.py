"""The two forms of a classifier: every mode reads both, and the checkpoint states its form."""

import json

import numpy as np
import pytest

from tests.runtime.runs import TINY, network, picture, run, train, values
from tools.weights.checkpoint_rewriting import rewrite_classifier
from utils.weights.checkpoint_files import read_metadata

pytestmark = pytest.mark.slow

KERNEL = "resnet50/output/dense/kernel"
STEPS = ("--num_iter=4", "--iter_unit=batch", "--lr_init=2", "--ema_decay=0.5")


@pytest.fixture(scope="module")
def forms(data_dir, tmp_path_factory):
    """Runs of four steps with the matrix and with the convolution, and of two steps with each."""
    folder = tmp_path_factory.mktemp("forms")
    for name, flags in (("matrix", ()), ("convolution", ("--use_final_conv",))):
        for length in ("whole", "part"):
            limit = ("--run_iter=2",) if length == "part" else ()
            result = train(data_dir, folder / f"{name}_{length}", *STEPS, *flags, *limit)
            assert result.status == 0, result.error
    return folder


def test_both_forms_train_to_the_same_numbers(forms):
    matrix, convolution = (values(forms / f"{name}_whole" / "model.ckpt-4") for name in ("matrix", "convolution"))
    assert set(matrix) == set(convolution)
    four = {name for name in matrix if matrix[name].shape != convolution[name].shape}
    assert four == {KERNEL, f"{KERNEL}/Momentum", f"{KERNEL}/ExponentialMovingAverage"}
    assert convolution[KERNEL].shape == (1, 1, *matrix[KERNEL].shape)
    for name, value in matrix.items():
        np.testing.assert_allclose(convolution[name].reshape(value.shape), value, rtol=1e-3, atol=1e-5, err_msg=name)
    assert [read_metadata(forms / f"{name}_whole" / "model.ckpt-4")["use_final_conv"] for name in (
        "matrix", "convolution")] == [False, True]  # fmt: skip


def test_a_run_goes_on_in_the_form_that_it_was_begun_in_or_changes_to_the_convolution(data_dir, forms):
    for name, flags in (("convolution", ()), ("matrix", ("--use_final_conv",))):
        result = train(data_dir, forms / f"{name}_part", *STEPS, *flags)
        assert result.status == 0, result.error
        found, whole = (values(forms / folder / "model.ckpt-4") for folder in (f"{name}_part", "convolution_whole"))
        assert found[KERNEL].ndim == 4
        for variable, value in whole.items():  # momentum and average were converted too
            np.testing.assert_allclose(found[variable], value, rtol=1e-3, atol=1e-5, err_msg=variable)


@pytest.mark.parametrize("mode", ["evaluate", "inference_benchmark"])
def test_evaluation_reads_either_form(data_dir, forms, tmp_path, mode):
    losses = {}
    for name in ("matrix", "convolution"):
        for flags in ((), ("--use_final_conv",)):
            where = (f"--model_dir={forms / f'{name}_whole'}", "--batch_size=5", "--num_iter=2", "--iter_unit=batch")
            result = run(*network(data_dir, tmp_path, mode), *where, "--warmup_steps=1", *flags)
            assert result.status == 0, result.error
            losses[name, flags] = result.summary["loss"]
    assert len(losses) == 4
    np.testing.assert_allclose(list(losses.values()), losses["matrix", ()], rtol=1e-4)


def test_prediction_and_export_read_either_form(forms, tmp_path):
    (tmp_path / "image.png").write_bytes(picture(1, "validation"))
    scores = []
    for name in ("matrix", "convolution"):
        for flags in ((), ("--use_final_conv",)):
            results = tmp_path / f"{name}{len(flags)}"
            where = (f"--model_dir={forms / f'{name}_whole'}", f"--to_predict={tmp_path / 'image.png'}")
            result = run("--arch=resnet50", "--mode=predict", *where, f"--results_dir={results}", *flags)
            assert result.status == 0, result.error
            (row,) = json.loads((results / "predictions.json").read_text())
            scores.append([entry["probability"] for entry in row["predictions"]])
    np.testing.assert_allclose(scores, [scores[0]] * 4, rtol=1e-4)


@pytest.mark.parametrize("form", ["matrix", "convolution"])
def test_a_warm_start_reads_either_form(data_dir, forms, tmp_path, form):
    flags = () if form == "convolution" else ("--use_final_conv",)
    start = ("--num_iter=1", "--iter_unit=batch", "--lr_init=0", "--weight_decay=0")
    source = forms / f"{form}_whole"
    result = train(data_dir, tmp_path, *start, *flags, f"--finetune_checkpoint={source}")
    assert result.status == 0, result.error
    found, stored = values(tmp_path / "model.ckpt-1")[KERNEL], values(source / "model.ckpt-4")
    assert found.ndim == (2 if form == "convolution" else 4)  # a new run has the requested form
    np.testing.assert_array_equal(found.ravel(), stored[f"{KERNEL}/ExponentialMovingAverage"].ravel())


@pytest.mark.parametrize("arch", [arch for arch in TINY if arch != "resnet50"])
def test_all_classifiers_have_both_forms(data_dir, tmp_path, arch):
    flags = ("--batch_size=4", "--num_iter=2", "--iter_unit=batch", "--seed=3", "--use_final_conv")
    result = run(*network(data_dir, tmp_path / "run", "train_and_evaluate", arch), *flags)
    assert result.status == 0, result.error
    rewrite_classifier(tmp_path / "run", None, tmp_path / "matrix")
    where = (f"--model_dir={tmp_path / 'matrix'}", "--batch_size=5")
    again = run(*network(data_dir, tmp_path / "again", "evaluate", arch), *where)
    assert again.status == 0, again.error
    assert again.summary["loss"] == pytest.approx(result.summary["loss"], rel=1e-4)
    assert again.summary["weights"] == str(tmp_path / "matrix" / "new.ckpt")
