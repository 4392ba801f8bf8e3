"""From a config to optimizer, learning rate and moving averages."""

import numpy as np
import pytest

from tests.object_detection.pipeline.pipelines import MOMENTUM, experiment
from utils.config import MovingAverageConfig, RunConfig
from utils.errors import UsageError
from utils.learning_rate import make_schedule
from utils.optimizer_config import OptimizerConfig

OPTIMIZER = "train_config.optimizer."
ADAM, RMS = f"{OPTIMIZER}adam_optimizer.", f"{OPTIMIZER}rms_prop_optimizer."
FLAT = "learning_rate.constant_learning_rate.learning_rate=0.01"
AVERAGES = f"{OPTIMIZER}use_moving_average=true"
CLIP = "train_config.gradient_clipping_by_norm"
EVALUATES = "eval_config.use_moving_averages"


def refusal_of(overrides, **options):
    with pytest.raises(UsageError) as caught:
        experiment(overrides, **options)
    return str(caught.value).removeprefix("--hparams_overrides: ")


def constant(**fields):
    """The optimizer of a config with the learning rate ``FLAT``."""
    return OptimizerConfig(learning_rate=0.01, schedule="constant", warmup_steps=0, weight_decay=4e-4, **fields)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (MOMENTUM + FLAT, constant(momentum=0.9)),
        (ADAM + FLAT, constant(name="adam", momentum=0.9, epsilon=1e-8)),
        (f"{ADAM}{FLAT},{ADAM}epsilon=0.1", constant(name="adam", momentum=0.9, epsilon=0.1)),
        (RMS + FLAT, constant(name="rmsprop", momentum=0.9, beta2=0.9, epsilon=1.0)),
        (
            f"{RMS}{FLAT},{RMS}momentum_optimizer_value=0,{RMS}decay=0.5,{RMS}epsilon=0.25",
            constant(name="rmsprop", momentum=0.0, beta2=0.5, epsilon=0.25),
        ),
        (f"{MOMENTUM}{FLAT},{CLIP}=10", constant(momentum=0.9, clip_norm=10.0)),
    ],
)
def test_every_optimizer_has_its_constants_and_decay_in_the_loss(overrides, expected):
    assert experiment(overrides)[0].optimizer == expected


def test_a_constant_rate_never_changes_and_ends_no_run():
    config, notes = experiment(MOMENTUM + FLAT, train_steps=1_000_000)
    schedule = make_schedule(config.optimizer, global_batch=7, steps_per_epoch=11, total_steps=13)
    np.testing.assert_allclose(schedule.rate(np.array([0.0, 5, 1e6])), 0.01)
    assert config.run.duration.value == 1_000_000
    assert not any("training ends" in note for note in notes)


def test_every_optimizer_has_the_cosine_too():
    falling = f"{ADAM}learning_rate.cosine_decay_learning_rate."
    rates = (
        f"{falling}learning_rate_base=0.16,{falling}warmup_learning_rate=0.0693312,"
        f"{falling}warmup_steps=1000,{falling}total_steps=12500"
    )
    usual, found = experiment()[0].optimizer, experiment(rates)[0].optimizer
    schedules = [make_schedule(config, global_batch=7, steps_per_epoch=11, total_steps=13) for config in (usual, found)]
    assert schedules[0] == schedules[1]


def test_averages_are_kept_with_the_decay_of_the_config():
    assert experiment()[0].moving_average == MovingAverageConfig(eval_weights="raw")
    assert experiment(AVERAGES)[0].moving_average == MovingAverageConfig(ema_decay=0.9999, eval_weights="raw")
    asked = f"{AVERAGES},{OPTIMIZER}moving_average_decay=0.5,{EVALUATES}=true"
    assert experiment(asked)[0].moving_average == MovingAverageConfig(ema_decay=0.5, eval_weights="ema")


def test_the_decay_of_averages_that_are_not_kept_does_not_matter():
    assert experiment(f"{OPTIMIZER}moving_average_decay=7") == experiment()


def test_averages_are_told_with_what_differs_from_the_original():
    different = (
        f"{OPTIMIZER}use_moving_average true: unlike in the original, step n decays the averages by at most "
        "(1 + n) / (10 + n), and batch-norm statistics are averaged too"
    )
    unused = f"{EVALUATES} false: evaluation uses the trained weights, not their averages"
    assert experiment(AVERAGES)[1][:2] == (different, unused)
    assert unused not in experiment(f"{AVERAGES},{EVALUATES}=true")[1]
    assert not any("averages" in note for note in experiment()[1])
    assert not any("averages" in note for note in experiment(AVERAGES, run=RunConfig(mode="evaluate"))[1])


def test_the_format_keeps_averages_where_a_config_says_nothing():
    left_out = f"train_config.optimizer={{}},{MOMENTUM}{FLAT}"
    config, notes = experiment(left_out)
    assert config.moving_average.ema_decay == 0.9999
    assert notes[0].startswith(f"{OPTIMIZER}use_moving_average true (its default): ")


def test_only_evaluation_alone_takes_averages_that_training_does_not_keep():
    assert refusal_of(f"{EVALUATES}=true") == (
        f"{EVALUATES} true: needs {OPTIMIZER}use_moving_average true, which keeps the averages"
    )
    once = RunConfig(mode="evaluate", model_dir="D")
    assert experiment(f"{EVALUATES}=true", run=once)[0].moving_average.eval_weights == "ema"


@pytest.mark.parametrize(
    ("path", "value", "allowed", "more"),
    [
        (f"{OPTIMIZER}moving_average_decay", "0", "above 0 and at most 1", AVERAGES),
        (f"{OPTIMIZER}moving_average_decay", "1", "below 1", AVERAGES),
        (f"{ADAM}epsilon", "0", "above 0", ADAM + FLAT),
        (f"{RMS}epsilon", "0", "above 0", RMS + FLAT),
        (f"{RMS}decay", "1", "below 1", RMS + FLAT),
        (f"{RMS}momentum_optimizer_value", "-1", "at least 0 and at most 1", RMS + FLAT),
        (f"{MOMENTUM}learning_rate.constant_learning_rate.learning_rate", "0", "above 0", ""),
        (CLIP, "-1", "at least 0", ""),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_is_allowed(path, value, allowed, more):
    overrides = ",".join(filter(None, (more, f"{path}={value}")))
    assert refusal_of(overrides) == f"{path} {value}: must be {allowed}"
