"""Facts of a launch in words."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

from runtime.devices.precision import Precision
from runtime.planning.model_size import NetworkSize
from runtime.planning.plan import plan_training
from runtime.reporting import run_facts
from runtime.reporting.run_facts import facts_of_setup, facts_of_training
from runtime.training.convolutions import Convolutions
from tests.runtime import tiny_detector
from tests.runtime.tiny_classifier import config
from utils.augment_config import AugmentConfig
from utils.config import Duration, FineTuningConfig, MovingAverageConfig, PrecisionConfig
from utils.detection_config import DetectionConfig
from utils.distillation_config import DistillationConfig
from utils.image_sizes import train_sizes_of_text
from utils.object_augment_config import ObjectAugmentConfig

SIZE = NetworkSize(parameters=11_689_512, flops=3_628_000_000)
FLOAT32 = Precision(compute_dtype=tf.float32)


def setup(settings=None, **parts):
    given = {"precision": FLOAT32, "seed": 3, "splits": {}, "checkpoint": None, "metadata": {}, "artefact": None}
    given |= {"convolutions": Convolutions(), "auto_batch": None}
    return SimpleNamespace(config=settings or config(), **given | parts)


def facts(found, processes=1):
    return dict(facts_of_setup(found, SIZE, processes))


def changed(settings, section, **values):
    return dataclasses.replace(settings, **{section: dataclasses.replace(getattr(settings, section), **values)})


def test_a_network_has_its_size():
    assert facts(setup())["Network"] == ("resnet50; 3 classes; 8 x 8 pixels; 11.69 M parameters, 3.628 GFLOP an image")


def test_an_artefact_has_no_size_but_what_runs_it():
    found = setup(artefact=SimpleNamespace(runtime="ONNX Runtime 1.32"), checkpoint=Path("net.onnx"))
    row = dict(facts_of_setup(found, NetworkSize(parameters=0, flops=0), 1))["Network"]
    assert row == "net.onnx, by ONNX Runtime 1.32; 3 classes; 8 x 8 pixels"


@pytest.mark.parametrize(
    ("parts", "run", "words"),
    [
        ({}, {"mode": "train"}, "new, random"),
        ({}, {"mode": "train", "finetune_checkpoint": "OLD"}, "new run from those of OLD"),
        ({"checkpoint": Path("RUN/model.ckpt-88"), "metadata": {"step": 88}}, {"mode": "train"},
         "continued from RUN/model.ckpt-88, step 88"),
        ({"checkpoint": Path("RUN/model.ckpt-88")}, {"mode": "evaluate"}, "RUN/model.ckpt-88"),
    ],
)  # fmt: skip
def test_weights_come_from_somewhere(parts, run, words):
    assert facts(setup(changed(config(), "run", **run), **parts))["Weights"] == words


def test_data_is_counted():
    files = SimpleNamespace(examples=1437, paths=("d/train-0",))
    assert facts(setup(splits={"train": files}))["Data"] == "data: 1,437 images to train on"
    globbed = changed(config(), "data", data_dir=None)
    assert facts(setup(globbed, splits={"validation": files}))["Data"] == "d: 1,437 images to evaluate on"
    assert facts(setup(changed(config(), "data", source="dali"), splits={"train": files}))["Data"].endswith("(DALI)")
    assert facts(setup())["Data"] == "synthetic images"
    predicting = changed(config(), "run", mode="predict", to_predict="images")
    assert facts(setup(predicting))["Data"] == "images"


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        (FLOAT32, "float32"),
        (Precision(compute_dtype=tf.bfloat16, static_loss_scale=128.0), "bfloat16, loss scaled by 128"),
        (Precision(compute_dtype=tf.float16, dynamic_loss_scale=True), "float16, dynamic loss scale"),
    ],
)
def test_precision_has_its_loss_scale(precision, words, monkeypatch):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_cpu_global_jit=true")
    assert facts(setup(precision=precision))["Precision"] == words
    compiled = dataclasses.replace(config(), precision=PrecisionConfig(xla=True))
    assert facts(setup(compiled, precision=precision))["Precision"] == f"{words}, XLA"


def test_the_device_is_named(monkeypatch):
    monkeypatch.setattr(run_facts, "cpu_name", lambda: "Some CPU")
    two = changed(changed(config(), "data", threads=2), "run", cpu=True)
    assert facts(setup(two))["Device"] == "CPU, Some CPU, 2 threads"
    assert facts(setup(two), processes=2)["Device"] == "CPU, Some CPU, 2 threads each, 2 processes"
    monkeypatch.setattr(run_facts, "uses_gpu", lambda settings: True)
    monkeypatch.setattr(run_facts, "gpu_names", lambda: ["Some GPU"])
    assert facts(setup(two))["Device"] == "GPU, Some GPU"


def test_a_build_for_gpus_that_finds_none_says_so(monkeypatch):
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    assert facts(setup())["Device"].endswith("; TensorFlow finds no GPU")
    assert not facts(setup(changed(config(), "run", cpu=True)))["Device"].endswith("no GPU")


def test_a_plan_is_told_in_steps():
    settings = changed(config(warmup_epochs=1.0), "run", duration=Duration(value=3))
    plan = plan_training(settings, 20, 1)
    rows = dict(facts_of_training(settings, plan, 5, 15))
    assert rows["Plan"] == "steps 6 to 15 of 15; 5 steps an epoch, 4 images a step"
    assert rows["Optimizer"] == "momentum 0.9, weight decay 0.0001"
    assert rows["Schedule"] == "learning rate 0.001563 after 5 warm-up steps, constant"
    assert dict(facts_of_training(settings, plan, 15, 15))["Plan"].startswith("no step left, 15 of 15")


@pytest.mark.parametrize(
    ("name", "rate", "how"), [("lamb", "0.0003536", "by the square root"), ("momentum", "1.563e-05", "in proportion")]
)
def test_what_was_made_of_a_recipe_is_told(name, rate, how):
    written = config(name=name, recipe_batch=2048, learning_rate_per_256=1e-3)
    assert "Recipe" not in dict(facts_of_training(written, plan_training(written, 20, 1), 0, 5))
    settings = changed(written, "optimizer", scale_recipe=True)
    settings = dataclasses.replace(settings, moving_average=MovingAverageConfig(ema_decay=0.99, ema_decay_steps=45))
    row = dict(facts_of_training(settings, plan_training(settings, 20, 1), 0, 5))["Recipe"]
    assert row == (
        f"global batch 4 instead of 2,048; peak learning rate {rate} instead of 0.008, {how}; "
        f"moving average {0.99 ** (45 / plan_training(settings, 20, 1).total_steps):.8g} instead of 0.99"
    )


def test_sizes_of_training_images_are_told_where_they_are_others():
    settings = config()
    assert "Sizes" not in dict(facts_of_training(settings, plan_training(settings, 20, 1), 0, 5))
    fixed = changed(settings, "data", train_image_size=6)
    rows = dict(facts_of_training(fixed, plan_training(fixed, 20, 1), 0, 5))
    assert rows["Sizes"] == "trained at 6 pixels; evaluated at 8"
    growing = changed(settings, "data", progressive_sizes=train_sizes_of_text("4:0,6:0.4,10:0.8"))
    rows = dict(facts_of_training(growing, plan_training(growing, 20, 1), 0, 5))
    assert rows["Sizes"] == "trained at 4 pixels, 6 after step 2, 10 after step 4; evaluated at 8"


def test_the_size_and_the_crop_that_a_network_sees_are_told():
    found = setup(changed(config(), "model", eval_crop=224 / 236))
    assert dict(facts_of_setup(found, dataclasses.replace(SIZE, image_size=6), 1))["Network"].startswith(
        "resnet50; 3 classes; 6 x 6 pixels; evaluated on the central 0.9492 of the shorter side; "
    )


def test_a_training_names_the_augmentation_that_is_not_the_default():
    settings = config()
    plan = plan_training(settings, 20, 1)
    assert "Augmentation" not in dict(facts_of_training(settings, plan, 0, 5))
    settings = changed(settings, "data", augment=AugmentConfig(auto_augment="rand", blur=0.1), color_jitter=0.3)
    settings = changed(settings, "optimizer", cutmix_alpha=1.0)
    rows = dict(facts_of_training(settings, plan, 0, 5))
    expected = "auto_augment rand, rand_ops 2, rand_magnitude 7.0, rand_std 0.5, blur 0.1, color_jitter 0.3"
    assert rows["Augmentation"] == expected
    assert rows["Optimizer"].endswith(", CutMix 1")


def test_the_augmentation_of_a_detector_is_named_too():
    augment = ObjectAugmentConfig(rotate90=True, min_visible=0.3, scale_jitter=(0.1, 2.0), mosaic=0.5)
    settings = tiny_detector.config(detection=DetectionConfig(augment=augment))
    settings = changed(settings, "data", augment=AugmentConfig(random_erasing=0.2))
    rows = dict(facts_of_training(settings, plan_training(settings, 20, 1), 0, 5))
    assert rows["Augmentation"] == "rotate90, min_visible 0.3, scale_jitter 0.1:2, mosaic 0.5, random_erasing 0.2"
    assert "Augmentation" not in dict(facts_of_training(tiny_detector.config(), plan_training(settings, 20, 1), 0, 5))


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [
        ({"schedule": "linear", "lr_final": 0.05}, "0.001563, then a line to 0.0007813 at step 15"),
        ({"schedule": "poly"}, "0.001563, then a parabola to 0 at step 15"),
        ({"schedule": "wsd"}, "0.001563 until step 12, then a line to 0 at step 15"),
        ({"schedule": "one_cycle"}, "0.001563, then a cosine to 6.25e-09 at step 15"),
        ({"schedule": "constant"}, "0.001563, constant"),
    ],
)
def test_each_schedule_has_its_words(optimizer, words):
    settings = changed(config(**optimizer, warmup_epochs=0.0), "run", duration=Duration(value=3))
    rows = dict(facts_of_training(settings, plan_training(settings, 20, 1), 0, 15))
    assert rows["Schedule"] == f"learning rate {words}"


def test_the_facts_of_an_optimizer_name_what_was_given():
    settings = config(name="lamb", epsilon=0.01, no_bias_decay=True, weight_decay=0.02)
    row = dict(facts_of_training(settings, plan_training(settings, 20, 1), 0, 5))["Optimizer"]
    assert row == "lamb, momentum 0.9, weight decay 0.02 without biases, epsilon 0.01, gradients clipped to norm 1"


def test_the_facts_of_an_optimizer_name_what_drops_scales_and_teaches():
    settings = config(stochastic_depth=0.1, dropout=0.2, adaptive_clip=True)
    settings = dataclasses.replace(
        settings,
        fine_tuning=FineTuningConfig(layer_decay=0.8),
        distillation=DistillationConfig(teacher="RUN/best", alpha=0.3),
        moving_average=MovingAverageConfig(ema_decay=0.25, ema_decay_steps=10),
    )
    row = dict(facts_of_training(settings, plan_training(settings, 20, 1), 0, 5))["Optimizer"]
    assert row == (
        "momentum 0.9, weight decay 0.0001, gradients clipped by unit, stochastic depth 0.1, dropout 0.2, learning "
        "rate times 0.8 for each group of layers below the head, taught by RUN/best (weight 0.3, temperature 2), "
        "exponential moving average 0.0625"
    )


def test_a_training_says_who_chose_its_convolutions():
    chosen = Convolutions(origin="measured 2026-11-30 on this machine (2 shapes)")
    assert facts(setup(convolutions=chosen))["Compute"] == "convolutions measured 2026-11-30 on this machine (2 shapes)"
    assert "Compute" not in facts(setup(changed(config(), "run", mode="evaluate"), convolutions=chosen))
