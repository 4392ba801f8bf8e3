"""The shipped configs, value by value."""

import numpy as np
import pytest

from object_detection.pipeline.fields import plain
from object_detection.pipeline.text import describe, holder
from tests.object_detection.pipeline.pipelines import (
    ALL,
    COSINE,
    EXTRACTOR,
    MOMENTUM,
    NMS,
    OPTIONS,
    PREDICTOR,
    SSD,
    experiment,
    shipped,
)
from utils.config import Duration, FineTuningConfig
from utils.detection_config import DetectionConfig
from utils.input.augmentation_specs import ColorSpec, CropSpec, FlipSpec
from utils.learning_rate import make_schedule

HYPERPARAMS = {
    "activation": "RELU_6",
    "regularizer.l2_regularizer.weight": 0.0004,
    "batch_norm.scale": True,
    "batch_norm.decay": 0.997,
    "batch_norm.epsilon": 0.001,
}
VALUES = {
    f"{SSD}inplace_batchnorm_update": True,
    f"{SSD}freeze_batchnorm": True,
    f"{SSD}num_classes": 90,
    f"{SSD}box_coder.faster_rcnn_box_coder.y_scale": 10,
    f"{SSD}box_coder.faster_rcnn_box_coder.x_scale": 10,
    f"{SSD}box_coder.faster_rcnn_box_coder.height_scale": 5,
    f"{SSD}box_coder.faster_rcnn_box_coder.width_scale": 5,
    f"{SSD}matcher.argmax_matcher.matched_threshold": 0.5,
    f"{SSD}matcher.argmax_matcher.unmatched_threshold": 0.5,
    f"{SSD}matcher.argmax_matcher.ignore_thresholds": False,
    f"{SSD}matcher.argmax_matcher.negatives_lower_than_unmatched": True,
    f"{SSD}matcher.argmax_matcher.force_match_for_each_row": True,
    f"{SSD}matcher.argmax_matcher.use_matmul_gather": True,
    f"{SSD}similarity_calculator.iou_similarity": None,
    f"{SSD}encode_background_as_zeros": True,
    f"{SSD}anchor_generator.multiscale_anchor_generator.min_level": 3,
    f"{SSD}anchor_generator.multiscale_anchor_generator.max_level": 7,
    f"{SSD}anchor_generator.multiscale_anchor_generator.anchor_scale": 4,
    f"{SSD}anchor_generator.multiscale_anchor_generator.aspect_ratios": (1, 2, 0.5),
    f"{SSD}anchor_generator.multiscale_anchor_generator.scales_per_octave": 2,
    f"{SSD}image_resizer.fixed_shape_resizer.height": 320,
    f"{SSD}image_resizer.fixed_shape_resizer.width": 320,
    f"{PREDICTOR}depth": 256,
    f"{PREDICTOR}num_layers_before_predictor": 4,
    f"{PREDICTOR}kernel_size": 3,
    f"{PREDICTOR}class_prediction_bias_init": -4.6,
    **{f"{PREDICTOR}conv_hyperparams.{name}": value for name, value in HYPERPARAMS.items()},
    f"{PREDICTOR}conv_hyperparams.initializer.random_normal_initializer.mean": 0,
    f"{PREDICTOR}conv_hyperparams.initializer.random_normal_initializer.stddev": 0.01,
    f"{EXTRACTOR}type": "ssd_resnet50_v1_fpn",
    f"{EXTRACTOR}fpn.min_level": 3,
    f"{EXTRACTOR}fpn.max_level": 7,
    f"{EXTRACTOR}min_depth": 16,
    f"{EXTRACTOR}depth_multiplier": 1,
    f"{EXTRACTOR}override_base_feature_extractor_hyperparams": True,
    **{f"{EXTRACTOR}conv_hyperparams.{name}": value for name, value in HYPERPARAMS.items()},
    f"{EXTRACTOR}conv_hyperparams.initializer.truncated_normal_initializer.mean": 0,
    f"{EXTRACTOR}conv_hyperparams.initializer.truncated_normal_initializer.stddev": 0.03,
    f"{SSD}loss.classification_loss.weighted_sigmoid_focal.alpha": 0.25,
    f"{SSD}loss.classification_loss.weighted_sigmoid_focal.gamma": 2,
    f"{SSD}loss.localization_loss.weighted_smooth_l1": None,
    f"{SSD}loss.classification_weight": 1,
    f"{SSD}loss.localization_weight": 1,
    f"{SSD}normalize_loss_by_num_matches": True,
    f"{SSD}normalize_loc_loss_by_codesize": True,
    f"{NMS}score_threshold": 1e-8,
    f"{NMS}iou_threshold": 0.6,
    f"{NMS}max_detections_per_class": 100,
    f"{NMS}max_total_detections": 100,
    f"{SSD}post_processing.score_converter": "SIGMOID",
    "train_config.fine_tune_checkpoint": "/checkpoints/resnet_v1_50/model.ckpt",
    "train_config.fine_tune_checkpoint_type": "classification",
    "train_config.batch_size": 32,
    "train_config.sync_replicas": True,
    "train_config.startup_delay_steps": 0,
    "train_config.replicas_to_aggregate": 8,
    "train_config.max_number_of_boxes": 100,
    "train_config.unpad_groundtruth_tensors": False,
    f"{OPTIONS}[0].random_horizontal_flip": None,
    f"{OPTIONS}[1].random_crop_image.min_object_covered": 0,
    f"{OPTIONS}[1].random_crop_image.min_aspect_ratio": 0.75,
    f"{OPTIONS}[1].random_crop_image.max_aspect_ratio": 3,
    f"{OPTIONS}[1].random_crop_image.min_area": 0.75,
    f"{OPTIONS}[1].random_crop_image.max_area": 1,
    f"{OPTIONS}[1].random_crop_image.overlap_thresh": 0,
    f"{MOMENTUM}momentum_optimizer_value": 0.9,
    "train_config.optimizer.use_moving_average": False,
    "train_input_reader.tf_record_input_reader.input_path": ("/data/coco2017_tfrecords/*train*",),
    "train_input_reader.label_map_path": "object_detection/data/mscoco_label_map.pbtxt",
    "eval_config.metrics_set": ("coco_detection_metrics",),
    "eval_config.use_moving_averages": False,
    "eval_config.num_examples": 8000,
    "eval_input_reader[0].tf_record_input_reader.input_path": ("/data/coco2017_tfrecords/*val*",),
    "eval_input_reader[0].label_map_path": "object_detection/data/mscoco_label_map.pbtxt",
    "eval_input_reader[0].shuffle": False,
    "eval_input_reader[0].num_readers": 1,
}
JITTER = {f"{OPTIONS}[2].random_distort_color.color_ordering": 0}
DIFFERENCES = {  # num_steps and total_steps, learning_rate_base, warmup_learning_rate, warmup_steps
    "ssd320_full_8gpus": (12_500, 0.16, 0.0693312, 1000),
    "ssd320_full_4gpus": (25_000, 0.08, 0.0346656, 2000),
    "ssd320_full_1gpus": (100_000, 0.02, 0.0086664, 8000),
    "ssd320_bench": (1250, 0.02, 0.0086664, 400),
    "ssd320_full_8gpus_jitter": (12_500, 0.16, 0.0693312, 1000),
}
RATES = {
    "ssd320_full_8gpus": {
        0: 0.0693312,
        1: 0.069421865,
        500: 0.1146656,
        999: 0.15990934,
        1000: 0.16,
        2000: 0.15703338,
        6750: 0.08,
        12_500: 0,
        12_501: 0,
    },
    "ssd320_full_4gpus": {1000: 0.0573328, 2000: 0.08, 13_500: 0.04, 25_000: 0},
    "ssd320_full_1gpus": {4000: 0.0143332, 8000: 0.02, 54_000: 0.01, 100_000: 0},
    "ssd320_bench": {200: 0.0143332, 400: 0.02, 825: 0.01, 1250: 0},
}


def expected_values(name):
    steps, base, warmup_rate, warmup_steps = DIFFERENCES[name]
    own = {
        "train_config.num_steps": steps,
        f"{COSINE}total_steps": steps,
        f"{COSINE}learning_rate_base": base,
        f"{COSINE}warmup_learning_rate": warmup_rate,
        f"{COSINE}warmup_steps": warmup_steps,
    }
    return VALUES | own | (JITTER if name.endswith("jitter") else {})


@pytest.mark.parametrize("name", ALL)
def test_a_shipped_config_says_just_what_it_should(name):
    pipeline, expected = shipped(name), expected_values(name)
    leaves = {path for path in pipeline.origins if not any(other.startswith(f"{path}.") for other in pipeline.origins)}
    assert leaves == set(expected)
    for path, value in expected.items():
        message, leaf = holder(pipeline.message, path)
        if value is not None:
            assert plain(describe(path)[1], getattr(message, leaf)) == value, path


@pytest.mark.parametrize("name", ALL)
def test_a_shipped_config_becomes_the_recipe_of_ssd320(name):
    steps, base, warmup_rate, warmup_steps = DIFFERENCES[name]
    config, _ = experiment(name=name)
    assert (config.model.architecture, config.model.backbone) == ("ssd320", None)  # the weights decide
    assert (config.model.num_classes, config.model.image_size) == (90, 320)
    optimizer = config.optimizer
    assert optimizer.learning_rate == base
    assert optimizer.warmup_start * base == pytest.approx(warmup_rate, rel=1e-15)
    assert (optimizer.warmup_steps, optimizer.hold_steps) == (warmup_steps, 0)
    assert (optimizer.schedule, optimizer.schedule_steps, optimizer.cosine_from_peak) == ("cosine", steps, True)
    assert (optimizer.momentum, optimizer.weight_decay) == (0.9, 0.0004)
    assert config.run.duration == Duration(value=steps, unit="batch")
    assert config.run.finetune_checkpoint == "/checkpoints/resnet_v1_50/model.ckpt"
    assert config.run.finetune_scope == ""
    assert config.data.train_files == ("/data/coco2017_tfrecords/*train*",)
    assert config.data.validation_files == ("/data/coco2017_tfrecords/*val*",)
    assert (config.data.batch_size_per_replica, config.data.eval_every, config.data.eval_split) == (32, 1, "validation")
    jitter = (ColorSpec(),) if name.endswith("jitter") else ()
    crop = CropSpec(min_object_covered=0, aspect_ratio=(0.75, 3), area=(0.75, 1), overlap=0)
    assert config.detection == DetectionConfig(augmentation=(FlipSpec(), crop, *jitter))
    assert config.fine_tuning == FineTuningConfig()


@pytest.mark.parametrize("name", RATES)
def test_the_learning_rate_of_a_shipped_config_is_the_published_one(name):
    optimizer = experiment(name=name)[0].optimizer
    schedule = make_schedule(optimizer, global_batch=7, steps_per_epoch=11, total_steps=13)
    steps = np.array([*RATES[name]], np.float64)
    np.testing.assert_allclose(schedule.rate(steps), [*RATES[name].values()], rtol=1e-6, atol=1e-12)
