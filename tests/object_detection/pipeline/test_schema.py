"""The table of the config format: it builds, and its defaults are those of the format's definition."""

import pytest

from object_detection.pipeline.schema import ENUMS, TABLE, message_class
from object_detection.pipeline.text import all_paths, describe
from tests.object_detection.pipeline.pipelines import COSINE, EXTRACTOR, MOMENTUM, NMS, OPTIONS, PREDICTOR, SSD

DEFAULTS = {
    f"{SSD}negative_class_weight": 1.0,
    f"{SSD}add_background_class": True,
    f"{SSD}explicit_background_class": False,
    f"{SSD}use_confidences_as_targets": False,
    f"{SSD}implicit_example_weight": 1.0,
    f"{EXTRACTOR}pad_to_multiple": 1,
    f"{EXTRACTOR}use_explicit_padding": False,
    f"{EXTRACTOR}use_depthwise": False,
    f"{EXTRACTOR}fpn.additional_layer_depth": 256,
    f"{EXTRACTOR}conv_hyperparams.batch_norm.center": True,
    f"{EXTRACTOR}conv_hyperparams.batch_norm.train": True,
    f"{EXTRACTOR}conv_hyperparams.batch_norm.decay": 0.999,
    f"{EXTRACTOR}conv_hyperparams.batch_norm.scale": False,
    f"{EXTRACTOR}conv_hyperparams.batch_norm.epsilon": 0.001,
    f"{SSD}anchor_generator.multiscale_anchor_generator.normalize_coordinates": True,
    f"{PREDICTOR}box_code_size": 4,
    f"{PREDICTOR}use_dropout": False,
    f"{PREDICTOR}dropout_keep_probability": 0.8,
    f"{PREDICTOR}share_prediction_tower": False,
    f"{PREDICTOR}use_depthwise": False,
    f"{SSD}loss.localization_loss.weighted_smooth_l1.delta": 1.0,
    f"{SSD}loss.classification_loss.weighted_sigmoid_focal.gamma": 2.0,
    f"{SSD}image_resizer.fixed_shape_resizer.height": 300,
    f"{SSD}image_resizer.fixed_shape_resizer.width": 300,
    f"{SSD}image_resizer.fixed_shape_resizer.convert_to_grayscale": False,
    f"{SSD}post_processing.logit_scale": 1.0,
    f"{NMS}score_threshold": 0.0,
    f"{NMS}iou_threshold": 0.6,
    f"{NMS}max_detections_per_class": 100,
    f"{NMS}max_total_detections": 100,
    f"{NMS}use_static_shapes": False,
    f"{OPTIONS}[0].random_crop_image.min_object_covered": 1.0,
    f"{OPTIONS}[0].random_crop_image.min_aspect_ratio": 0.75,
    f"{OPTIONS}[0].random_crop_image.max_aspect_ratio": 1.33,
    f"{OPTIONS}[0].random_crop_image.min_area": 0.1,
    f"{OPTIONS}[0].random_crop_image.max_area": 1.0,
    f"{OPTIONS}[0].random_crop_image.overlap_thresh": 0.3,
    f"{OPTIONS}[0].random_crop_image.clip_boxes": True,
    f"{OPTIONS}[0].random_crop_image.random_coef": 0.0,
    "train_config.gradient_clipping_by_norm": 0.0,
    "train_config.add_regularization_loss": True,
    "train_config.bias_grad_multiplier": 0.0,
    "train_config.load_all_detection_checkpoint_vars": False,
    "train_config.from_detection_checkpoint": False,
    "train_config.keep_checkpoint_every_n_hours": 10000,
    "train_config.merge_multiple_label_boxes": False,
    "train_config.retain_original_images": False,
    "train_config.use_bfloat16": False,
    "train_config.summarize_gradients": False,
    f"{COSINE}hold_base_rate_steps": 0,
    f"{COSINE}learning_rate_base": 0.002,
    f"{COSINE}total_steps": 4_000_000,
    f"{COSINE}warmup_learning_rate": 0.0002,
    f"{COSINE}warmup_steps": 10_000,
    "train_config.optimizer.use_moving_average": True,
    "train_config.optimizer.moving_average_decay": 0.9999,
    "train_config.optimizer.adam_optimizer.epsilon": 1e-8,
    "train_config.optimizer.rms_prop_optimizer.momentum_optimizer_value": 0.9,
    "train_config.optimizer.rms_prop_optimizer.decay": 0.9,
    "train_config.optimizer.rms_prop_optimizer.epsilon": 1.0,
    f"{MOMENTUM}learning_rate.constant_learning_rate.learning_rate": 0.002,
    "train_input_reader.shuffle": True,
    "train_input_reader.shuffle_buffer_size": 2048,
    "train_input_reader.filenames_shuffle_buffer_size": 100,
    "train_input_reader.num_epochs": 0,
    "train_input_reader.num_readers": 64,
    "train_input_reader.read_block_length": 32,
    "train_input_reader.num_parallel_batches": 8,
    "train_input_reader.num_prefetch_batches": 2,
    "train_input_reader.max_number_of_boxes": 100,
    "train_input_reader.load_instance_masks": False,
    "train_input_reader.sample_1_of_n_examples": 1,
    "train_input_reader.num_additional_channels": 0,
    "eval_config.batch_size": 1,
    "eval_config.num_visualizations": 10,
    "eval_config.max_num_boxes_to_visualize": 20,
    "eval_config.min_score_threshold": 0.5,
    "eval_config.retain_original_images": True,
    "eval_config.include_metrics_per_category": False,
    "eval_config.export_path": "",
    "eval_config.eval_interval_secs": 300,
    "eval_config.max_evals": 0,
    f"{SSD}matcher.argmax_matcher.force_match_for_each_row": False,
    f"{SSD}matcher.argmax_matcher.use_matmul_gather": False,
}
ENUM_DEFAULTS = {
    f"{EXTRACTOR}conv_hyperparams.op": "CONV",
    f"{EXTRACTOR}conv_hyperparams.activation": "RELU",
    f"{PREDICTOR}score_converter": "IDENTITY",
    f"{SSD}post_processing.score_converter": "IDENTITY",
    f"{SSD}loss.expected_loss_weights": "NONE",
    f"{SSD}image_resizer.fixed_shape_resizer.resize_method": "BILINEAR",
}
STEPS = (
    "normalize_image",
    "random_pixel_value_scale",
    "random_image_scale",
    "random_rgb_to_gray",
    "random_adjust_brightness",
    "random_adjust_contrast",
    "random_adjust_hue",
    "random_adjust_saturation",
    "random_distort_color",
    "random_jitter_boxes",
    "random_pad_image",
    "random_crop_pad_image",
    "random_crop_to_aspect_ratio",
    "random_black_patches",
    "random_resize_method",
    "scale_boxes_to_pixel_coordinates",
    "resize_image",
    "subtract_channel_mean",
    "ssd_random_crop",
    "ssd_random_crop_pad",
    "ssd_random_crop_fixed_aspect_ratio",
    "ssd_random_crop_pad_fixed_aspect_ratio",
    "random_vertical_flip",
    "random_rotation90",
    "rgb_to_gray",
    "convert_class_logits_to_softmax",
    "random_absolute_pad_image",
    "random_self_concat_image",
    "autoaugment_image",
    "drop_label_probabilistically",
    "remap_labels",
    "random_jpeg_quality",
    "random_downscale_to_target_pixels",
    "random_patch_gaussian",
    "random_square_crop_by_scale",
    "random_scale_crop_and_pad_to_square",
    "adjust_gamma",
    "random_horizontal_flip",
    "random_crop_image",
)


@pytest.mark.parametrize(("path", "default"), DEFAULTS.items(), ids=DEFAULTS)
def test_a_field_that_is_not_set_has_the_default_of_the_format(path, default):
    assert describe(path)[1].default_value == default


@pytest.mark.parametrize(("path", "default"), ENUM_DEFAULTS.items(), ids=ENUM_DEFAULTS)
def test_an_enumeration_that_is_not_set_has_the_default_of_the_format(path, default):
    field = describe(path)[1]
    assert field.enum_type.values_by_number[field.default_value].name == default


def test_every_augmentation_step_is_known_by_its_name():
    assert {path.rpartition(".")[2] for path in all_paths() if path.count(".") == 2 and OPTIONS in path} == {*STEPS}


def test_numbers_are_kept_as_python_reads_them():
    message = message_class()()
    message.model.ssd.negative_class_weight = 0.16
    assert message.model.ssd.negative_class_weight == 0.16


def test_the_table_names_no_message_twice_and_none_in_vain():
    names = [line.removeprefix("message ") for line in TABLE.splitlines() if line.startswith("message ")]
    assert len(names) == len(set(names))
    words = TABLE.replace(",", " ").split()
    assert [name for name in names[1:] if words.count(name) < 2] == []
    assert [name for name in ENUMS if words.count(name) == 0] == []


def test_the_root_holds_what_the_format_has_at_the_top():
    top = {"model", "train_config", "train_input_reader", "eval_config", "eval_input_reader", "graph_rewriter"}
    assert set(message_class().DESCRIPTOR.fields_by_name) == top
