"""The recipes of later papers: each plan, recomputed from the published numbers for 8 GPUs and ImageNet."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

from runtime.planning.plan import plan_training
from tests.launching import ROOT
from utils.cmdline_helper import parse
from utils.config import CLASSIFIERS
from utils.image_sizes import crop_of_text
from utils.optimizers import WeightDecay

IMAGES, GPUS = 1_281_167, 8
LAMB = {"optimizer": "lamb", "final": 1e-6, "start": 1e-4, "warmup": 5, "biases": False, "zero": True, "loss": "bce"}
TIMM = LAMB | {"batch": 2048, "cutmix": 1, "size": 224, "crop": "224/236", "policy": "rand", "threshold": 0.2}
SGD = {"optimizer": "momentum", "final": 0, "start": 0, "biases": True, "zero": False, "loss": "softmax", "repeats": 1}
SGD |= {"smoothing": 0.1, "policy": "none", "depth": 0, "mixup": 0, "cutmix": 0, "threshold": None}
FFCV = SGD | {"batch": 4096, "peak": 1.7, "warmup": 2, "decay": 1e-4, "size": 256, "crop": "224/256"}
A1 = {"epochs": 600, "peak": 5e-3, "decay": 0.01, "smoothing": 0.1, "mixup": 0.2, "repeats": 3, "depth": 0.05}
A2 = {"epochs": 300, "peak": 5e-3, "decay": 0.02, "smoothing": 0, "mixup": 0.1, "repeats": 3, "depth": 0.05}
A3 = {"epochs": 100, "peak": 8e-3, "decay": 0.02, "smoothing": 0, "mixup": 0.1, "repeats": 1, "depth": 0}
PUBLISHED = {
    "A1": TIMM | A1 | {"magnitude": 7, "train": [(224, 0)]},
    "A2": TIMM | A2 | {"magnitude": 7, "train": [(224, 0)]},
    "A3": TIMM | A3 | {"magnitude": 6, "train": [(160, 0)]},
    "V2": SGD
    | {"epochs": 600, "batch": 1024, "peak": 0.5, "start": 0.005, "warmup": 5, "decay": 2e-5, "mixup": 0.2, "cutmix": 1}
    | {"size": 224, "crop": "224/232", "policy": "trivial", "repeats": 4, "train": [(176, 0)]},
    "FFCV16": FFCV | {"epochs": 16, "train": [(160, 0), (192, 0.75)]},
    "FFCV88": FFCV | {"epochs": 88, "train": [(160, 0), (192, 0.8)]},
}
DECAYED = {"conv/kernel": (True, True), "BatchNorm/gamma": (False, False), "fc/bias": (True, False)}
"""Decay of a variable, with and without biases."""


def recipe(name, *more):
    command = parse([f"@{ROOT}/recipes/{name}.args", "--data_dir=D", *more], {})
    assert command.notes == ()
    return command.config


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_plan_is_the_published_one(name):
    config, told = recipe(name, "--arch=resnet50"), PUBLISHED[name]
    plan = plan_training(config, IMAGES, GPUS)
    steps = IMAGES // told["batch"]
    assert (plan.global_batch, config.optimizer.recipe_batch) == (told["batch"], told["batch"])
    assert (plan.steps_per_epoch, plan.total_steps) == (steps, steps * told["epochs"])
    schedule = plan.schedule
    assert schedule.warmup_steps == steps * told["warmup"]
    found = (schedule.peak, schedule.final, schedule.start)
    assert found == pytest.approx((told["peak"], told["final"], told["start"]), rel=1e-12)
    half = plan.total_steps // 2
    phase = half / plan.total_steps
    expected = told["final"] + (told["peak"] - told["final"]) * 0.5 * (1 + np.cos(np.pi * phase))
    if name.startswith("FFCV"):  # a triangle
        expected = told["peak"] * (plan.total_steps - half) / (plan.total_steps - schedule.warmup_steps)
    assert float(schedule.rate(half)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", PUBLISHED)
def test_loss_decay_and_images_are_the_published_ones(name):
    config, told = recipe(name), PUBLISHED[name]
    optimizer, augment = config.optimizer, config.data.augment
    assert (optimizer.name, optimizer.loss, optimizer.weight_decay) == (told["optimizer"], told["loss"], told["decay"])
    assert (config.model.zero_init_residual, optimizer.bce_target_threshold) == (told["zero"], told["threshold"])
    mixing = (optimizer.label_smoothing, optimizer.mixup_alpha, optimizer.cutmix_alpha, optimizer.stochastic_depth)
    assert mixing == (told["smoothing"], told["mixup"], told["cutmix"], told["depth"])
    assert (augment.auto_augment, augment.repeated_augmentation) == (told["policy"], told["repeats"])
    if told["policy"] == "rand":
        assert (augment.rand_ops, augment.rand_magnitude, augment.rand_std) == (2, told["magnitude"], 0.5)
    assert augment.random_erasing == (0.1 if name == "V2" else 0)
    assert (augment.crop_sampling, config.data.min_crop_area) == ("uniform", 0.08)
    assert (config.model.image_size, config.model.eval_crop) == (told["size"], crop_of_text(told["crop"]))
    assert [*config.data.train_sizes(told["size"])] == told["train"]
    with tf.Graph().as_default():
        variables = [tf.compat.v1.get_variable(variable, [1]) for variable in DECAYED]
        decay = WeightDecay(variables, optimizer.weight_decay, biases=not optimizer.no_bias_decay)
    expected = {variable for variable, kinds in DECAYED.items() if kinds[not told["biases"]]}
    assert {variable.op.name for variable in decay.variables} == expected


def test_the_moving_average_of_v2_is_torchvision_s():
    config = recipe("V2")
    plan = plan_training(config, IMAGES, GPUS)
    average = config.moving_average
    of_32_steps = 1 - (1 - 0.99998) * 1024 * 32 / 600  # torchvision scales its decay by batch, steps and epochs
    assert average.ema_every == 32
    assert average.decay_in(plan.total_steps) ** 32 == pytest.approx(of_32_steps, rel=1e-6)
    tenth = average.decay_in(plan.total_steps // 10)
    assert tenth == pytest.approx(average.decay_in(plan.total_steps) ** 10, rel=1e-9)


@pytest.mark.parametrize("name", [*PUBLISHED, "small"])
def test_a_recipe_is_for_every_classifier(name):
    plain = recipe(name)
    assert plain.model.architecture is None
    for arch in CLASSIFIERS:
        config = recipe(name, f"--arch={arch}")
        assert dataclasses.replace(config, model=dataclasses.replace(config.model, architecture=None)) == plain


@pytest.mark.parametrize(("name", "peak"), [("A1", 5e-3 / 8), ("A3", 1e-3), ("V2", 0.5 / 32), ("FFCV16", 1.7 / 128)])
def test_a_recipe_for_8_gpus_is_fitted_to_32_images_on_one_cpu(name, peak):
    more = ("--arch=resnet50", "--scale_recipe", "--batch_size=32", "--num_iter=10")
    config, written = recipe(name, *more), recipe(name, "--arch=resnet50", *more[2:])
    plan = plan_training(config, 1000, 1)
    assert plan.schedule.peak == pytest.approx(peak, rel=1e-12)
    assert plan.schedule.warmup_steps == 31 * PUBLISHED[name]["warmup"]
    linear = PUBLISHED[name]["peak"] * 32 / PUBLISHED[name]["batch"]
    assert plan_training(written, 1000, 1).schedule.peak == pytest.approx(linear, rel=1e-12)


def test_the_small_recipe_is_the_compared_one_and_repeats_its_figure():
    config = recipe("small", "--arch=resnet18")
    plan = plan_training(config, 1024, 1)
    assert (config.optimizer.name, plan.schedule.peak, plan.total_steps) == ("adamw", pytest.approx(0.002), 30 * 32)
    (row,) = re.findall(r"^\| `small.args` \|.*", (ROOT / "docs/classification.md").read_text(), re.MULTILINE)
    comment = " ".join(re.findall("^# (.*)", (ROOT / "recipes/small.args").read_text(), re.MULTILINE))
    assert f"top-1 {re.search('0[.][0-9]{3}', row)[0]}" in comment
    assert "tools.sweep" in comment
