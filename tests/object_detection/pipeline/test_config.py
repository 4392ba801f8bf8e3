"""From a config to an experiment: detector, optimizer, length of a run and initial checkpoint."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from object_detection.pipeline.config import load_pipeline, to_experiment
from tests.model.tiny_ssd import BACKBONE
from tests.model.tiny_ssd import PREDICTOR as PREDICTOR_SCOPE
from tests.object_detection.pipeline.pipelines import (
    COSINE,
    EXTRACTOR,
    GROUPED,
    MOMENTUM,
    NMS,
    OPTIONS,
    PREDICTOR,
    SSD,
    edited,
    experiment,
)
from tests.runtime.tiny_detector import SIZE, task
from utils.config import Duration, PrecisionConfig, RunConfig
from utils.detection_config import (
    AnchorSpec,
    BoxCoderSpec,
    DetectionConfig,
    LossSpec,
    MatcherSpec,
    PostProcessingSpec,
)
from utils.errors import UsageError
from utils.image_sizes import Sides
from utils.input.augmentation_specs import ColorSpec, CropSpec, FlipSpec, RotateSpec, VerticalFlipSpec
from utils.learning_rate import make_schedule


def test_a_base_rate_can_be_held_before_it_falls():
    overrides = (
        f"{COSINE}learning_rate_base=1,{COSINE}total_steps=120,{COSINE}warmup_learning_rate=0.1,"
        f"{COSINE}warmup_steps=9,{COSINE}hold_base_rate_steps=20"
    )
    optimizer = experiment(overrides)[0].optimizer
    schedule = make_schedule(optimizer, global_batch=1, steps_per_epoch=1, total_steps=1)
    rates = {0: 0.1, 4: 0.5, 8: 0.9, 9: 1, 10: 1, 29: 1, 30: 0.999702, 50: 0.874255, 70: 0.577365, 120: 0}
    np.testing.assert_allclose(schedule.rate(np.array([*rates], np.float64)), [*rates.values()], atol=1e-6)


def test_every_constant_of_the_detector_reaches_the_config():
    crop = f"{OPTIONS}[1].random_crop_image."
    config, _ = experiment(
        ",".join(
            [
                f"{SSD}box_coder.faster_rcnn_box_coder={{}}",
                f"{SSD}box_coder.faster_rcnn_box_coder.y_scale=1,{SSD}box_coder.faster_rcnn_box_coder.x_scale=2",
                f"{SSD}box_coder.faster_rcnn_box_coder.height_scale=3,{SSD}box_coder.faster_rcnn_box_coder.width_scale=4",
                f"{SSD}matcher.argmax_matcher.matched_threshold=0.7,{SSD}matcher.argmax_matcher.unmatched_threshold=0.3",
                f"{SSD}matcher.argmax_matcher.negatives_lower_than_unmatched=false",
                f"{SSD}matcher.argmax_matcher.force_match_for_each_row=false",
                f"{SSD}anchor_generator.multiscale_anchor_generator.anchor_scale=3",
                f"{SSD}anchor_generator.multiscale_anchor_generator.aspect_ratios=[1,3]",
                f"{SSD}anchor_generator.multiscale_anchor_generator.scales_per_octave=3",
                f"{SSD}loss.classification_loss.weighted_sigmoid_focal={{}}",
                f"{SSD}loss.classification_loss.weighted_sigmoid_focal.gamma=1.5",
                f"{SSD}loss.localization_loss.weighted_smooth_l1.delta=0.5",
                f"{SSD}loss.classification_weight=2,{SSD}loss.localization_weight=3",
                f"{NMS}score_threshold=0.01,{NMS}iou_threshold=0.5",
                f"{NMS}max_detections_per_class=20,{NMS}max_total_detections=50",
                f"{NMS}use_class_agnostic_nms=true",
                f"{crop}min_object_covered=0.1,{crop}min_aspect_ratio=0.5,{crop}max_aspect_ratio=2,{crop}min_area=0.2",
                f"{crop}max_area=0.9,{crop}overlap_thresh=0.3,{crop}clip_boxes=false,{crop}random_coef=0.15",
                f"{OPTIONS}[2].random_distort_color.color_ordering=1",
                f"{SSD}num_classes=7",
                f"{SSD}image_resizer.fixed_shape_resizer.height=256,{SSD}image_resizer.fixed_shape_resizer.width=256",
                f"{MOMENTUM}momentum_optimizer_value=0.8",
            ]
        )
    )
    assert config.detection == DetectionConfig(
        anchors=AnchorSpec(scale=3, aspect_ratios=(1, 3), scales_per_octave=3),
        coder=BoxCoderSpec(y_scale=1, x_scale=2, height_scale=3, width_scale=4),
        matcher=MatcherSpec(
            matched_threshold=0.7, unmatched_threshold=0.3, negatives_lower_than_unmatched=False, force_match=False
        ),
        losses=LossSpec(
            focal_alpha=None, focal_gamma=1.5, huber_delta=0.5, classification_weight=2, localization_weight=3
        ),
        post_processing=PostProcessingSpec(
            score_threshold=0.01,
            iou_threshold=0.5,
            max_detections_per_class=20,
            max_total_detections=50,
            class_agnostic=True,
        ),
        augmentation=(
            FlipSpec(),
            CropSpec(
                min_object_covered=0.1,
                aspect_ratio=(0.5, 2),
                area=(0.2, 0.9),
                overlap=0.3,
                clip_boxes=False,
                skip_probability=0.15,
            ),
            ColorSpec(ordering=1),
        ),
    )
    assert (config.model.num_classes, config.model.image_size, config.optimizer.momentum) == (7, 256, 0.8)


def test_images_are_flipped_and_turned_as_the_file_says():
    steps = f"{OPTIONS}[2].random_rotation90={{}},{OPTIONS}[3].random_vertical_flip={{}}"
    found = experiment(steps)[0].detection.augmentation
    assert found[2:] == (RotateSpec(turns=(0, 1)), VerticalFlipSpec())


def test_the_input_may_be_wider_than_high_or_keep_the_proportions_of_pictures():
    resizer = f"{SSD}image_resizer."
    stretched, _ = experiment(f"{resizer}fixed_shape_resizer.width=512")
    assert (stretched.model.image_size, stretched.detection.resize) == (Sides(320, 512), None)
    keep = f"{resizer}keep_aspect_ratio_resizer."
    padded, _ = experiment(f"{keep}min_dimension=640,{keep}max_dimension=640,{keep}pad_to_max_dimension=true")
    assert (padded.model.image_size, padded.detection.resize) == (640, "pad")


def test_augmentation_keeps_the_order_of_the_file(tmp_path):
    path, _ = edited(tmp_path, "random_horizontal_flip {}", "random_distort_color {}")
    config, _ = to_experiment(load_pipeline(path), run=RunConfig())
    assert [type(step) for step in config.detection.augmentation] == [ColorSpec, CropSpec]
    assert experiment(f"{OPTIONS}=[]")[0].detection.augmentation == ()


def test_boxes_compared_by_giou_get_their_weight_over_the_four_numbers_of_a_code():
    giou = f"{SSD}loss.localization_loss.weighted_giou={{}},{SSD}loss.localization_weight=3"
    assert experiment(giou)[0].detection.losses == LossSpec(box_loss="giou", localization_weight=0.75)


def test_group_norm_takes_the_place_of_batch_norm_and_its_fields():
    usual, grouped = experiment()[0], experiment(GROUPED)[0]
    assert usual.detection.norm is None  # the weights decide
    assert grouped == replace(usual, detection=replace(usual.detection, norm="group"))
    assert (grouped.detection.batch_norm_decay, grouped.fine_tuning.freeze_batch_norm) == (0.997, False)


def test_a_network_of_such_a_config_normalizes_groups_above_its_backbone():
    network = task(detection=experiment(GROUPED)[0].detection).network
    with tf.Graph().as_default():
        network.forward(tf.zeros([1, SIZE, SIZE, 3]), training=True)
        names = [v.op.name for v in tf.compat.v1.global_variables()]
    assert f"{PREDICTOR_SCOPE}/ClassPredictionTower/conv2d_0/GroupNorm/gamma" in names
    assert f"{BACKBONE}/fpn/smoothing_1/GroupNorm/beta" in names
    assert f"{BACKBONE}/conv1/BatchNorm/gamma" in names
    assert not [name for name in names if "BatchNorm" in name and ("/fpn/" in name or PREDICTOR_SCOPE in name)]


def test_both_hyperparams_together_freeze_batch_norm():
    both = f"{EXTRACTOR}conv_hyperparams.batch_norm.train=false,{PREDICTOR}conv_hyperparams.batch_norm.train=false"
    assert experiment(both)[0].fine_tuning.freeze_batch_norm is True
    with pytest.raises(
        UsageError, match=r"batch_norm\.train true: must be false, the value of model\.ssd\.feature_extractor"
    ):
        experiment(f"{EXTRACTOR}conv_hyperparams.batch_norm.train=false")


def test_weight_decay_is_one_for_all():
    paths = [f"{part}conv_hyperparams.regularizer.l2_regularizer.weight" for part in (EXTRACTOR, PREDICTOR)]
    assert experiment(f"{paths[0]}=0.1,{paths[1]}=0.1")[0].optimizer.weight_decay == 0.1
    with pytest.raises(UsageError, match=r"box_predictor\S+weight 0\.1: must be 0\.0004, the value of \S+feature_ext"):
        experiment(f"{paths[1]}=0.1")


def test_the_flag_changes_the_length_and_not_the_schedule():
    config, _ = experiment(train_steps=2)
    assert config.run.duration.value == 2
    assert config.optimizer.schedule_steps == 12_500


def test_training_ends_where_the_schedule_does():
    config, notes = experiment(train_steps=20_000)
    assert config.run.duration.value == 12_500
    assert notes[0].startswith("training ends at step 12500, not 20000: the learning rate is 0 from there on")
    assert not any("training ends" in note for note in experiment(train_steps=12_500)[1])


def test_a_run_without_a_length_is_refused():
    with pytest.raises(UsageError, match=r"num_steps 0: must be a positive integer unless --num_train_steps is given$"):
        experiment("train_config.num_steps=0")
    assert experiment("train_config.num_steps=0", train_steps=5)[0].run.duration.value == 5


def test_evaluation_needs_no_length():
    once = RunConfig(mode="evaluate", model_dir="D")
    assert experiment("train_config.num_steps=0", run=once)[0].run == once


def test_only_training_starts_from_another_checkpoint():
    assert experiment(run=RunConfig(mode="evaluate"))[0].run.finetune_checkpoint is None
    assert experiment("load_pretrained=false")[0].run.finetune_checkpoint is None
    assert experiment("fine_tune_checkpoint=C")[0].run.finetune_checkpoint == "C"


@pytest.mark.parametrize(
    ("overrides", "scope"),
    [
        ("fine_tune_checkpoint_type=classification", ""),
        ("fine_tune_checkpoint_type=classification,train_config.from_detection_checkpoint=true", ""),
        ("fine_tune_checkpoint_type=detection", "FeatureExtractor"),
        ("fine_tune_checkpoint_type=detection,train_config.load_all_detection_checkpoint_vars=true", ""),
        ("fine_tune_checkpoint_type=,train_config.from_detection_checkpoint=true", "FeatureExtractor"),
        ("fine_tune_checkpoint_type=", ""),
    ],
)
def test_a_detector_to_start_from_gives_its_heads_only_when_everything_is_asked_for(overrides, scope):
    assert experiment(f"train_config.{overrides}")[0].run.finetune_scope == scope


def test_what_is_no_business_of_the_config_is_handed_on():
    run = RunConfig(mode="inference_benchmark", duration=Duration(value=400, unit="batch"), warmup_steps=100)
    precision = PrecisionConfig(amp=True)
    config, _ = experiment(run=run, precision=precision, data_format="NCHW")
    assert (config.run, config.precision, config.model.data_format) == (run, precision, "NCHW")
