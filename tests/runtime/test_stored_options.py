"""Options that a checkpoint records, and the sentences of a resumed run about those that changed."""

from runtime.stored_options import changed_options, options_to_store
from tests.runtime.tiny_classifier import config

RECIPE = {"clip_norm": 1.0, "no_bias_decay": True, "schedule": "linear", "lr_final": 0.001, "lr_warmup_start": 0.002}
RECIPE |= {"stochastic_depth": 0.1, "dropout": 0.2, "adaptive_clip": True}


def test_a_run_that_goes_on_with_other_options_says_so():
    stored = options_to_store(config(**RECIPE))
    assert changed_options(config(**RECIPE), stored) == []
    assert changed_options(config(**RECIPE | {"lr_final": 0.003, "schedule": "wsd"}), stored) == [
        "--lr_final: 0.001 so far in this run, 0.003 from here on",
        "--schedule: linear so far in this run, wsd from here on",
    ]
    assert {sentence.partition(":")[0] for sentence in changed_options(config(), stored)} == {
        f"--{name}" for name in RECIPE
    }


def test_checkpoints_without_a_schedule_say_nothing_about_it():
    assert changed_options(config(schedule="cosine"), {}) == []
