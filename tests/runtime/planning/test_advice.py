"""The advice about values that do not fit a run, and the recipes that need none."""

import pytest

from object_detection.pipeline.config import load_pipeline, to_experiment
from runtime.planning.advice import RULES, advice
from runtime.planning.plan import plan_training
from tests.documents import PAGES, tables
from tests.launching import ROOT
from utils.cmdline_helper import parse
from utils.config import RunConfig

IMAGENET, COCO = 1_281_167, 117_266
FITS = ("--arch=resnet18", "--batch_size=32", "--num_iter=40", "--cosine_lr")
DETECTOR = ("--arch=ssd320", "--batch_size=8", "--lr_init=0.48")
WARM = "--finetune_checkpoint=OLD"


def told(*flags, images=1000, processes=1, resumed=False):
    config = parse(["--mode=train", "--data_dir=D", *flags], {}).config
    return advice(config, plan_training(config, images, processes), resumed=resumed)


def test_a_run_that_fits_is_left_alone():
    assert told(*FITS) == told(*DETECTOR) == told(*DETECTOR[:2], WARM) == []


BREACHES = [
    (
        [*FITS, "--num_iter=1", "--iter_unit=batch", "--lr_warmup_epochs=0"],
        "--num_iter: 1 step is too few to train random weights; 33 epochs are 1,000 steps or more "
        "(--finetune_checkpoint needs fewer)",
    ),
    (
        [*FITS, "--num_iter=6", "--lr_warmup_epochs=1"],
        "--num_iter: 186 steps are too few to train random weights; 33 epochs are 1,000 steps or more "
        "(--finetune_checkpoint needs fewer)",
    ),
    (
        [*FITS, "--num_iter=9"],
        "--lr_warmup_epochs: the warm-up of 155 steps takes more than half of the 279 steps of the run; a tenth of the "
        "run, 0.9 epochs, is usual",
    ),
    (
        [*FITS[:2], "--num_iter=30"],
        "--cosine_lr: without it the learning rate stays at its peak to the end, because it first falls after 30 "
        "epochs",
    ),
    (
        [*FITS, "--optimizer=adam"],
        "--lr_init: a peak of 0.013 is for momentum; Adam's usual 0.001 is --lr_init=0.008 here",
    ),
    (
        [*DETECTOR[:2]],
        "--lr_init: 0.16 is for a trained backbone, which --finetune_checkpoint provides; random weights need a higher "
        "rate, such as 0.48",
    ),
    (
        [*DETECTOR, "--num_iter=7"],
        "--batch_norm_decay: after 875 steps the batch-norm statistics still hold 7.2 % of their initial values with a "
        "decay of 0.997; 0.99 fits this run",
    ),
    (
        [*FITS, "--batch_size=4"],
        "--batch_size: batch norm takes its statistics from 4 images, so few that they are noise; 8 or more make them "
        "useful, --freeze_batch_norm keeps those of a checkpoint",
    ),
]


@pytest.mark.parametrize(("flags", "sentence"), BREACHES, ids=[sentence.split(":")[0] for _, sentence in BREACHES])
def test_a_value_that_does_not_fit_is_named_with_one_that_does(flags, sentence):
    assert told(*flags) == [sentence]


def test_a_random_detector_needs_no_high_rate_with_an_optimizer_that_scales_its_steps():
    assert told(*DETECTOR, "--optimizer=adamw", "--lr_init=0.032") == []


def test_the_rate_follows_the_batch_to_a_limit():
    (sentence,) = told(*FITS, "--batch_size=1024", images=IMAGENET, processes=16)
    assert sentence == (
        "--lr_init: the learning rate follows the batch up to 8,192 images a step, not to 16,384; --lr_init=0.05 keeps "
        "the peak of 8,192"
    )
    assert told(*FITS, "--batch_size=512", images=IMAGENET, processes=16) == []


def test_a_recipe_for_lamb_at_another_batch_is_told_of_the_flag_that_fits_it():
    lamb = [*FITS, "--optimizer=lamb", "--lr_init=0.001", "--recipe_batch=2048"]
    assert told(*lamb) == [
        "--scale_recipe: the learning rate of the recipe is for 2,048 images a step, not for 32; with this flag it "
        "follows the square root of the batch, as suits lamb"
    ]
    assert told(*lamb, "--scale_recipe") == told(*lamb, "--recipe_batch=32") == []
    assert told(*FITS, "--recipe_batch=2048") == []


def test_processes_that_normalize_together_make_a_batch():
    assert "8 or more or --sync_batch_norm make" in told(*FITS, "--batch_size=2", processes=4)[0]
    assert told(*FITS, "--batch_size=2", "--sync_batch_norm", processes=4) == []
    assert told(*FITS, "--batch_size=2", WARM, "--freeze_batch_norm") == []


def test_what_suits_new_weights_is_not_asked_of_trained_ones():
    short = ["--arch=resnet50", "--batch_size=32", "--num_iter=5", "--lr_warmup_epochs=1"]
    assert [sentence.split(":")[0] for sentence in told(*short)] == ["--num_iter", "--cosine_lr"]
    assert told(*short, WARM) == []


def test_a_run_that_goes_on_or_is_only_measured_gets_no_advice():
    flags = ["--arch=resnet50", "--batch_size=4", "--num_iter=1"]
    assert len(told(*flags)) == 3
    assert told(*flags, resumed=True) == []
    assert told(*flags, "--mode=training_benchmark", "--num_iter=4") == []


RECIPES = [path for folder in ("recipes", "se-resnext101-32x4d/recipes") for path in sorted((ROOT / folder).iterdir())]


@pytest.mark.parametrize("path", [path for path in RECIPES if path.name != "imagenet.args"], ids=lambda path: path.stem)
def test_published_recipes_need_no_advice(path):
    quantized = "QAT" in path.name
    more = [WARM] if quantized or path.name == "ssd320_modern.args" else []  # these begin with trained weights
    images, processes = (1000, 1) if path.stem == "small" else (IMAGENET, 1 if quantized else 8)
    assert told(f"@{path}", *more, images=images, processes=processes) == []


@pytest.mark.parametrize(
    ("name", "steps", "processes"),
    [("full_1gpus", None, 1), ("full_4gpus", None, 4), ("full_8gpus", None, 8), ("bench", 1200, 8)],
)
def test_published_configs_need_no_advice(name, steps, processes):
    pipeline = load_pipeline(str(ROOT / f"object_detection/configs/ssd320_{name}.config"))
    config, _ = to_experiment(pipeline, run=RunConfig(mode="train"), train_steps=steps)
    assert advice(config, plan_training(config, COCO, processes), resumed=False) == []


@pytest.mark.parametrize(
    ("name", "images", "more"),
    [("clothing", 1000, []), ("quickstart", 1417, []), ("quickstart_detection", 300, []), ("cells", 292, [WARM])],
)
def test_recipes_of_the_examples_need_no_advice(name, images, more):
    assert told(f"@{ROOT}/examples/{name}.args", *more, images=images) == []


def test_the_documents_have_the_rules_with_their_evidence():
    (table,) = tables(PAGES["docs/training.md"].section("Defaults that do not fit"))
    assert table[1:] == [[f"`--{rule.flag}`", rule.breach, rule.evidence] for rule in RULES]
