"""Moving averages of the weights: saved, evaluated, and unaffected by resuming."""

import numpy as np
import pytest
import tensorflow as tf

from runtime.devices.precision import Precision
from tests.runtime.runs import at_step, network, picture, run, train, values
from utils.weights.checkpoint_files import read_metadata

SUFFIX = "/ExponentialMovingAverage"
FLAGS = ("--num_iter=6", "--iter_unit=batch", "--lr_init=4", "--ema_decay=0.8")


@pytest.fixture(scope="module")
def averaged(data_dir, tmp_path_factory):
    """A run of six steps with moving averages, a checkpoint of each step, and its evaluation."""
    results = tmp_path_factory.mktemp("ema") / "run"
    more = ("--checkpoint_every=1", "--keep_checkpoints=9")
    result = train(data_dir, results, *FLAGS, *more, mode="train_and_evaluate")
    assert result.status == 0, result.error
    return results, result


def names_of_averaged(stored):
    """Weights and statistics by name."""
    kept = [name for name in stored if not name.endswith(("/Momentum", SUFFIX)) and name != "global_step"]
    return sorted(kept)


@pytest.mark.slow
def test_a_checkpoint_has_the_weights_and_their_averages(averaged, trained):
    stored, usual = values(averaged[0] / "model.ckpt-6"), values(trained / "model.ckpt-5")
    names = names_of_averaged(stored)
    assert set(stored) == set(usual) | {f"{name}{SUFFIX}" for name in names}
    assert any("/moving_mean" in name for name in names)
    assert read_metadata(averaged[0] / "model.ckpt-6")["tuning"] == {"ema_decay": 0.8}


def test_each_step_takes_the_new_weights_in(averaged):
    saved = [values(averaged[0] / f"model.ckpt-{step}") for step in range(1, 7)]
    for name in names_of_averaged(saved[0]):
        for step in range(2, 7):
            decay = min(0.8, (1 + step) / (10 + step))
            before, after = saved[step - 2], saved[step - 1]
            expected = decay * before[f"{name}{SUFFIX}"] + (1 - decay) * after[name]
            np.testing.assert_allclose(after[f"{name}{SUFFIX}"], expected, rtol=1e-4, atol=1e-6, err_msg=name)


def evaluate(data, model, results, *more, mode="evaluate"):
    return run(*network(data, results, mode), f"--model_dir={model}", "--batch_size=5", *more)


@pytest.mark.slow
def test_averages_are_evaluated_where_there_are_any_and_raw_weights_where_they_are_asked_for(
    data_dir, averaged, tmp_path
):
    results, launch = averaged
    usual = evaluate(data_dir, results, tmp_path / "usual")
    assert usual.status == 0, usual.error
    assert "using the moving averages of the weights; --eval_weights raw uses the others" in usual.error
    ema, raw = (evaluate(data_dir, results, tmp_path / k, f"--eval_weights={k}") for k in ("ema", "raw"))
    assert usual.summary["eval_weights"] == ema.summary["eval_weights"] == launch.summary["eval_weights"] == "ema"
    assert "eval_weights" not in raw.summary
    assert usual.summary["loss"] == ema.summary["loss"] == pytest.approx(launch.summary["loss"], rel=1e-6)
    assert abs(raw.summary["loss"] - ema.summary["loss"]) > 1e-4


def test_what_is_evaluated_are_the_averages_themselves(data_dir, averaged, tmp_path):
    """A second implementation: a checkpoint whose weights are the averages has the same loss."""
    from tools.weights.checkpoint_rewriting import write_folder

    results, launch = averaged
    stored = values(results / "model.ckpt-6")
    copies = {name: stored[f"{name}{SUFFIX}"] for name in names_of_averaged(stored)}
    metadata = read_metadata(results / "model.ckpt-6")
    write_folder(tmp_path / "copy", "model.ckpt-6", copies | {"global_step": stored["global_step"]}, metadata)
    result = evaluate(data_dir, tmp_path / "copy", tmp_path / "results")
    assert result.status == 0, result.error
    assert result.summary["loss"] == pytest.approx(launch.summary["loss"], rel=1e-6)


@pytest.mark.slow
def test_training_may_evaluate_the_raw_weights(data_dir, averaged, tmp_path):
    result = train(data_dir, tmp_path, *FLAGS, "--eval_weights=raw", mode="train_and_evaluate")
    raw = evaluate(data_dir, averaged[0], tmp_path / "raw", "--eval_weights=raw")
    assert "eval_weights" not in result.summary
    assert result.summary["loss"] == pytest.approx(raw.summary["loss"], rel=1e-6)


def test_averages_that_are_not_there_are_a_sentence(data_dir, trained, tmp_path):
    result = evaluate(data_dir, trained, tmp_path, "--eval_weights=ema")
    assert result.status == 1
    assert "--eval_weights ema: " in result.error
    assert "has no moving averages; training with --ema_decay stores them" in result.error
    assert "Traceback" not in result.error


@pytest.mark.slow
def test_prediction_and_export_use_the_averages(data_dir, averaged, tmp_path):
    results, _ = averaged
    image = tmp_path / "image.png"
    image.write_bytes(picture(0, "validation"))
    found = {}
    for kind in ("ema", "raw"):
        shown = run(
            *("--arch=resnet50", "--mode=predict", f"--model_dir={results}", f"--to_predict={image}"),
            *(f"--results_dir={tmp_path / kind}", f"--eval_weights={kind}"),
        )
        assert shown.status == 0, shown.error
        found[kind] = (tmp_path / kind / "predictions.json").read_text()
        export = (f"--export_dir={tmp_path / 'models' / kind}", f"--eval_weights={kind}")
        exported = evaluate(data_dir, results, tmp_path / f"evaluated_{kind}", *export)
        assert exported.status == 0, exported.error
    assert found["ema"] != found["raw"]
    stored = values(results / "model.ckpt-6")
    for kind, suffix in (("ema", SUFFIX), ("raw", "")):
        (model,) = (tmp_path / "models" / kind).iterdir()
        variables = tf.train.load_checkpoint(str(model / "variables" / "variables"))
        kernel = variables.get_tensor("resnet50/output/dense/kernel")
        np.testing.assert_array_equal(kernel, stored[f"resnet50/output/dense/kernel{suffix}"])


@pytest.mark.slow
def test_a_run_with_averages_is_resumed_exactly(data_dir, averaged, tmp_path):
    assert train(data_dir, tmp_path, *FLAGS, "--run_iter=4").status == 0
    assert train(data_dir, tmp_path, *FLAGS).status == 0
    whole, parts = values(averaged[0] / "model.ckpt-6"), values(tmp_path / "model.ckpt-6")
    assert set(whole) == set(parts)
    assert [name for name in whole if not np.array_equal(whole[name], parts[name])] == []


@pytest.mark.slow
def test_averages_may_begin_late_and_end_early_and_both_is_said(data_dir, tmp_path):
    assert train(data_dir, tmp_path, *FLAGS[:3], "--run_iter=2").status == 0
    begun = train(data_dir, tmp_path, *FLAGS, "--run_iter=1")
    assert "--ema_decay: off so far in this run, 0.8 from here on" in begun.error
    first, then = (values(tmp_path / f"model.ckpt-{step}") for step in (2, 3))
    name, decay = "resnet50/output/dense/kernel", min(0.8, 4 / 13)
    expected = decay * first[name] + (1 - decay) * then[name]  # the average started equal to the weights
    np.testing.assert_allclose(then[f"{name}{SUFFIX}"], expected, rtol=1e-4, atol=1e-6)
    ended = train(data_dir, tmp_path, *FLAGS[:3])
    assert ended.status == 0, ended.error
    assert "--ema_decay: 0.8 so far in this run, off from here on" in ended.error
    assert not any(name.endswith(SUFFIX) for name in values(tmp_path / "model.ckpt-6"))


@pytest.mark.slow
def test_skipped_steps_do_not_count(data_dir, tmp_path, monkeypatch):
    half = Precision(compute_dtype=tf.float16, dynamic_loss_scale=True)
    monkeypatch.setattr("runtime.setup.set_up.choose_precision", lambda *_, **__: half)
    monkeypatch.setattr("utils.optimizers.INITIAL_LOSS_SCALE", 2.0**22)
    with at_step(-1, lambda: None) as seen:
        result = train(data_dir, tmp_path, *FLAGS, "--num_iter=2", "--checkpoint_every=1")
    assert result.status == 0, result.error
    assert len(seen) > 2  # the first batches overflowed
    first, then = (values(tmp_path / f"model.ckpt-{step}") for step in (1, 2))
    name, decay = "resnet50/output/dense/kernel", 3 / 12
    expected = decay * first[f"{name}{SUFFIX}"] + (1 - decay) * then[name]
    np.testing.assert_allclose(then[f"{name}{SUFFIX}"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_warm_start_takes_the_averages(data_dir, averaged, tmp_path):
    results, _ = averaged
    start = ("--num_iter=1", "--iter_unit=batch", "--lr_init=0", "--freeze_batch_norm", "--weight_decay=0")
    result = train(data_dir, tmp_path, *start, f"--finetune_checkpoint={results}")
    assert result.status == 0, result.error
    assert "loaded, its moving average" in result.error
    stored, found = values(results / "model.ckpt-6"), values(tmp_path / "model.ckpt-1")
    for name in names_of_averaged(stored):
        np.testing.assert_array_equal(found[name], stored[f"{name}{SUFFIX}"])
