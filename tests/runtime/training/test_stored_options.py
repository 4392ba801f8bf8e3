"""Options that a checkpoint records, and the sentences of a resumed run about those that changed."""

from runtime.training.stored_options import changed_options, options_to_store
from tests.runtime import tiny_detector
from tests.runtime.tiny_classifier import config
from utils.detection_config import DetectionConfig, HeadSpec, LossSpec, MatcherSpec
from utils.object_augment_config import ObjectAugmentConfig

RECIPE = {"clip_norm": 1.0, "no_bias_decay": True, "schedule": "linear", "lr_final": 0.001, "lr_warmup_start": 0.002}
RECIPE |= {"stochastic_depth": 0.1, "dropout": 0.2, "adaptive_clip": True, "recipe_batch": 2048, "scale_recipe": True}


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


def test_a_detector_that_goes_on_with_another_loss_or_matcher_says_so():
    losses = LossSpec(box_loss="giou", localization_weight=2.0, distribution_weight=0.5)
    matcher, heads = MatcherSpec(kind="task_aligned", aligned_after=0.5), HeadSpec(distribution=True)
    modern = DetectionConfig(matcher=matcher, losses=losses, heads=heads)
    stored = options_to_store(tiny_detector.config(detection=modern))
    assert changed_options(tiny_detector.config(detection=modern), stored) == []
    assert changed_options(tiny_detector.config(), stored) == [
        "--matcher: task_aligned so far in this run, iou from here on",
        "--task_aligned_after: 0.5 so far in this run, 0.33 from here on",
        "--box_loss: giou so far in this run, huber from here on",
        "--box_loss_weight: 2 so far in this run, 1 from here on",
        "--distribution_loss_weight: 0.5 so far in this run, 0.25 from here on",
    ]


def test_a_detector_that_goes_on_with_other_augmentation_says_so():
    augment = ObjectAugmentConfig(rotate90=True, min_visible=0.25, scale_jitter=(0.1, 2.0), mosaic=0.5)
    stored = options_to_store(tiny_detector.config(detection=DetectionConfig(augment=augment)))
    assert changed_options(tiny_detector.config(detection=DetectionConfig(augment=augment)), stored) == []
    assert changed_options(tiny_detector.config(), stored) == [
        "--rotate90: on so far in this run, off from here on",
        "--min_visible: 0.25 so far in this run, 0 from here on",
        "--mosaic: 0.5 so far in this run, 0 from here on",
        "--scale_jitter: 0.1:2 so far in this run, off from here on",
    ]
