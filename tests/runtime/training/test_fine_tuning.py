"""Fine-tuning: trained and frozen parts, learning rates, messages and rejections."""

import json
import shutil

import numpy as np
import pytest

from tests.runtime.runs import network, run, train, values
from tests.utils.checkpoints.weights import without_checksums
from tools.weights.checkpoint_rewriting import write_folder
from utils.weights.checkpoint_files import read_metadata

HEAD = ("resnet50/output/dense/kernel", "resnet50/output/dense/bias")
PREDICTOR, PYRAMID = "WeightSharedConvolutionalBoxPredictor/", "FeatureExtractor/resnet_v1_50/fpn/"
STEPS = ("--num_iter=3", "--iter_unit=batch", "--lr_init=2", "--weight_decay=0.1", "--display_every=1")


def weights(prefix):
    """The network's own variables in a checkpoint."""
    return {name: v for name, v in values(prefix).items() if not name.endswith("Momentum") and name != "global_step"}


def changed(before, after):
    return {name for name, value in after.items() if not np.array_equal(value, before[name])}


@pytest.fixture(scope="module")
def frozen(data_dir, trained, tmp_path_factory):
    """A launch that trains only the head, from the trained network."""
    results = tmp_path_factory.mktemp("frozen") / "run"
    result = train(data_dir, results, *STEPS, "--freeze_backbone", f"--finetune_checkpoint={trained}")
    assert result.status == 0, result.error
    return results, result


def test_with_a_frozen_backbone_the_head_alone_changes(trained, frozen):
    before, after = weights(trained / "model.ckpt-5"), weights(frozen[0] / "model.ckpt-3")
    assert set(after) == set(before)  # the checkpoint is complete
    assert changed(before, after) == set(HEAD)


def test_a_frozen_backbone_has_no_momentum_and_no_decay(frozen):
    results, result = frozen
    stored = values(results / "model.ckpt-3")
    assert {name for name in stored if name.endswith("Momentum")} == {f"{name}/Momentum" for name in HEAD}
    summed = sum(0.1 * 0.5 * np.square(stored[name]).sum() for name in HEAD)
    last = [r["data"]["l2_loss"] for r in result.logged if "l2_loss" in r["data"]][-1]
    assert last == pytest.approx(summed, rel=0.2)  # before the last step
    assert read_metadata(results / "model.ckpt-3")["tuning"] == {"freeze_backbone": True}


@pytest.mark.slow
def test_a_frozen_network_gives_the_loss_that_evaluation_gives(data_dir, trained, tmp_path):
    """Batch normalization uses the stored statistics, so batches do not affect each other's results."""
    flags = ("--num_iter=5", "--iter_unit=batch", "--lr_init=0", "--weight_decay=0", "--display_every=1")
    start = (f"--finetune_checkpoint={trained}", "--freeze_backbone", "--min_crop_area=1")
    one = train(data_dir, tmp_path / "4", *flags, *start)
    other = train(data_dir, tmp_path / "20", *start, "--batch_size=20", "--num_iter=1", *flags[1:])
    assert other.status == 0, other.error
    losses = [r["data"]["cross_entropy"] for r in one.logged if "cross_entropy" in r["data"] and len(r["step"]) == 2]
    assert len(losses) == 5
    assert np.mean(losses) == pytest.approx(other.losses[0][1], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("begun", "continued"), [(True, False), (False, True)], ids=["thawed", "frozen"])
def test_a_run_may_go_on_with_a_backbone_that_is_frozen_or_no_longer(data_dir, trained, tmp_path, begun, continued):
    start = (*STEPS, f"--finetune_checkpoint={trained}")
    options = {True: ("--freeze_backbone",), False: ()}
    assert train(data_dir, tmp_path, *start, "--run_iter=1", *options[begun]).status == 0
    result = train(data_dir, tmp_path, *start, *options[continued])
    assert result.status == 0, result.error
    former, now = ("on", "off") if begun else ("off", "on")
    assert f"--freeze_backbone: {former} so far in this run, {now} from here on" in result.error
    moved = changed(weights(tmp_path / "model.ckpt-1"), weights(tmp_path / "model.ckpt-3"))
    assert (moved == set(HEAD)) == continued
    assert set(HEAD) <= moved


@pytest.mark.slow
def test_frozen_statistics_stay_and_everything_else_is_trained(data_dir, trained, tmp_path):
    result = train(data_dir, tmp_path, *STEPS, "--freeze_batch_norm", f"--finetune_checkpoint={trained}")
    assert result.status == 0, result.error
    before, after = weights(trained / "model.ckpt-5"), weights(tmp_path / "model.ckpt-3")
    assert set(before) - changed(before, after) == {name for name in before if "/moving_" in name}


def test_a_random_backbone_is_not_frozen(data_dir, tmp_path):
    result = train(data_dir, tmp_path, *STEPS, "--freeze_backbone")
    assert result.status == 2
    assert "--freeze_backbone: there is no checkpoint to start from, so the backbone would stay random" in result.error
    assert "Traceback" not in result.error


@pytest.mark.slow
def test_random_statistics_are_frozen_with_a_warning(data_dir, tmp_path):
    result = train(data_dir, tmp_path, *STEPS, "--freeze_batch_norm")
    assert result.status == 0
    assert "--freeze_batch_norm: there is no checkpoint to start from, so the batch-norm statistics stay at" in (
        result.error
    )


@pytest.mark.slow
def test_a_multiplier_multiplies_the_heads_updates_alone(data_dir, trained, tmp_path):
    before, found = weights(trained / "model.ckpt-5"), {}
    for name, flags in (("plain", ()), ("tenfold", ("--head_lr_multiplier=10",))):
        start = (f"--finetune_checkpoint={trained}", "--num_iter=1", "--iter_unit=batch", "--lr_init=2")
        result = train(data_dir, tmp_path / name, *start, "--display_every=1", *flags)
        assert result.status == 0, result.error
        found[name] = values(tmp_path / name / "model.ckpt-1")
        (rate,) = (r["data"]["learning_rate"] for r in result.logged if "learning_rate" in r["data"])
        assert rate == pytest.approx(2 * 4 / 256)
    plain, tenfold = found["plain"], found["tenfold"]
    different = {name for name in plain if not np.array_equal(plain[name], tenfold[name])}
    assert different == set(HEAD)
    for name in HEAD:
        np.testing.assert_allclose(
            tenfold[name] - before[name], 10 * (plain[name] - before[name]), rtol=1e-3, atol=1e-6
        )


@pytest.mark.slow
def test_a_run_with_a_multiplier_is_resumed_exactly(data_dir, trained, tmp_path):
    flags = (*STEPS, "--head_lr_multiplier=3", "--ema_decay=0.9", f"--finetune_checkpoint={trained}")
    assert train(data_dir, tmp_path / "whole", *flags).status == 0
    for limit in (("--run_iter=2",), ()):
        assert train(data_dir, tmp_path / "parts", *flags, *limit).status == 0
    whole, parts = (values(tmp_path / name / "model.ckpt-3") for name in ("whole", "parts"))
    assert set(whole) == set(parts)
    assert not changed(whole, parts)


# Other classes


def test_of_another_class_count_the_head_begins_anew_and_it_alone(data_dir, trained, tmp_path):
    start = ("--num_iter=1", "--iter_unit=batch", "--lr_init=0", "--weight_decay=0", "--freeze_batch_norm")
    result = train(data_dir, tmp_path, *start, "--num_classes=4", f"--finetune_checkpoint={trained}")
    assert result.status == 0, result.error
    before, after = weights(trained / "model.ckpt-5"), weights(tmp_path / "model.ckpt-1")
    assert {name for name in after if before[name].shape != after[name].shape} == set(HEAD)
    assert changed(before, {k: v for k, v in after.items() if k not in HEAD}) == set()
    assert "has other classes, so the classification layer starts with new weights; all other" in result.error
    assert "new, the checkpoint has other classes" in result.error


@pytest.mark.slow
def test_classes_of_other_names_keep_the_head_unless_it_is_to_begin_anew(data_dir, trained, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("round\nline\nsquare\n")
    source = tmp_path / "renamed"
    shutil.copytree(trained, source)
    for path in source.glob("*.json"):
        if "checksums" in path.read_text():
            path.write_text(json.dumps(without_checksums(path)).replace('"circle"', '"ring"'))
    start = ("--num_iter=1", "--iter_unit=batch", "--lr_init=0", f"--finetune_checkpoint={source}")
    kept = train(data_dir, tmp_path / "kept", *start)
    assert (
        "its class 0 is 'ring', but here it is 'circle'; the classification layer is loaded nevertheless" in kept.error
    )
    reset = train(data_dir, tmp_path / "reset", *start, "--reset_head")
    assert reset.status == 0, reset.error
    before = values(trained / "model.ckpt-5")[HEAD[0]]
    np.testing.assert_array_equal(values(tmp_path / "kept" / "model.ckpt-1")[HEAD[0]], before)
    assert not np.allclose(values(tmp_path / "reset" / "model.ckpt-1")[HEAD[0]], before)


# Detectors


def tuning(scenes, start, results):
    """The flags of two steps from the weights of a detector."""
    flags = ("--arch=ssd320", "--mode=train", f"--data_dir={scenes}", "--image_size=64", "--batch_size=4")
    flags += ("--num_iter=2", "--iter_unit=batch", "--seed=3", "--lr_warmup_epochs=0", "--lr_init=0.5")
    return (*flags, f"--results_dir={results}", f"--finetune_checkpoint={start}")


@pytest.mark.slow
def test_of_a_detector_pyramid_and_head_are_trained_over_a_frozen_backbone(scenes, detector, tmp_path):
    result = run(*tuning(scenes, detector, tmp_path), "--freeze_backbone")
    assert result.status == 0, result.error
    before, after = weights(detector / "model.ckpt-60"), weights(tmp_path / "model.ckpt-2")
    assert set(before) == set(after)
    moved = changed(before, after)
    assert all(name.startswith((PREDICTOR, PYRAMID)) for name in moved)
    assert any("/moving_mean" in name and name.startswith(PYRAMID) for name in moved)
    assert any(name.startswith(f"{PREDICTOR}ClassPredictor/") for name in moved)


@pytest.mark.slow
def test_of_a_detector_a_multiplier_acts_on_what_predicts(scenes, detector, tmp_path):
    found = {}
    for name, more in (("plain", ()), ("twice", ("--head_lr_multiplier=2",))):
        assert run(*tuning(scenes, detector, tmp_path / name), "--num_iter=1", *more).status == 0
        found[name] = values(tmp_path / name / "model.ckpt-1")
    moved = {name for name in found["plain"] if not np.array_equal(found["plain"][name], found["twice"][name])}
    assert moved
    assert all(name.startswith(PREDICTOR) and "/moving_" not in name and "Momentum" not in name for name in moved)


@pytest.mark.slow
def test_a_checkpoint_without_the_backbone_cannot_freeze_it(data_dir, tmp_path, trained):
    stored = weights(trained / "model.ckpt-5")
    del stored["resnet50/conv2d/conv2d/kernel"], stored["resnet50/conv2d/BatchNorm/gamma"]
    write_folder(tmp_path / "part", "model.ckpt-1", stored, read_metadata(trained / "model.ckpt-5"))
    result = run(
        *network(data_dir, tmp_path / "run", "train"),
        *("--batch_size=4", "--num_iter=1", "--freeze_backbone", f"--finetune_checkpoint={tmp_path / 'part'}"),
    )
    assert result.status == 1
    assert "lacks resnet50/conv2d/BatchNorm/gamma and 1 more variable of the backbone" in result.error
