"""Values that a config may not have, and values without effect."""

import pytest

from object_detection.pipeline.config import load_pipeline, to_experiment
from object_detection.pipeline.rules import FIXED
from object_detection.pipeline.text import all_paths, describe
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
from tests.object_detection.pipeline.test_schema import STEPS
from utils.config import RunConfig
from utils.errors import UsageError

OTHER_VALUES = {bool: lambda value: not value, int: lambda value: value + 1, float: lambda value: value + 0.5}


def refusal_of(overrides, **options):
    with pytest.raises(UsageError) as caught:
        experiment(overrides, **options)
    return str(caught.value)


@pytest.mark.parametrize(("path", "value"), FIXED.items(), ids=FIXED)
def test_a_constant_of_the_network_has_one_value(path, value):
    other = (
        "NONE" if "activation" in path else "SOFTMAX" if isinstance(value, str) else OTHER_VALUES[type(value)](value)
    )
    message = refusal_of(f"{path}={str(other).lower() if isinstance(other, bool) else other}")
    assert message.startswith(f"--hparams_overrides: {path} ")
    assert ": must be " in message


def test_a_constant_that_the_config_leaves_out_is_named_with_its_default(tmp_path):
    path, line = edited(tmp_path, "        depth: 256\n", "")
    with pytest.raises(UsageError) as caught:
        to_experiment(load_pipeline(path), run=RunConfig())
    assert str(caught.value) == (
        f"{path}:{line - 1}: {PREDICTOR}depth 0 (its default): must be 256; SSD320 is built that way"
    )


def test_a_refusal_names_the_line(tmp_path):
    path, line = edited(tmp_path, "depth: 256", "depth: 128")
    with pytest.raises(UsageError) as caught:
        to_experiment(load_pipeline(path), run=RunConfig())
    assert str(caught.value) == f"{path}:{line}: {PREDICTOR}depth 128: must be 256; SSD320 is built that way"


NOT_DONE = {
    f"{SSD}negative_class_weight": "2.0",
    f"{SSD}add_background_class": "false",
    f"{SSD}matcher.argmax_matcher.ignore_thresholds": "true",
    f"{SSD}anchor_generator.multiscale_anchor_generator.normalize_coordinates": "false",
    f"{SSD}image_resizer.fixed_shape_resizer.convert_to_grayscale": "true",
    f"{SSD}image_resizer.fixed_shape_resizer.resize_method": "AREA",
    f"{SSD}loss.expected_loss_weights": "EXPECTED_SAMPLING",
    f"{SSD}post_processing.logit_scale": "2",
    f"{NMS}use_hard_nms": "true",
    f"{PREDICTOR}share_prediction_tower": "true",
    f"{PREDICTOR}use_depthwise": "true",
    f"{PREDICTOR}use_dropout": "true",
    f"{PREDICTOR}score_converter": "SIGMOID",
    f"{PREDICTOR}conv_hyperparams.batch_norm.center": "false",
    f"{EXTRACTOR}pad_to_multiple": "32",
    f"{EXTRACTOR}depth_multiplier": "0.5",
    f"{EXTRACTOR}fpn.additional_layer_depth": "128",
    f"{EXTRACTOR}conv_hyperparams.force_use_bias": "true",
    "train_config.bias_grad_multiplier": "2",
    "train_config.add_regularization_loss": "false",
    "train_config.freeze_variables": "[FeatureExtractor]",
    "train_config.update_trainable_variables": "[Box]",
    "train_config.merge_multiple_label_boxes": "true",
    "train_config.use_bfloat16": "true",
    "train_input_reader.shuffle": "false",
    "train_input_reader.num_epochs": "3",
    "train_input_reader.load_instance_masks": "true",
    "eval_config.ignore_groundtruth": "true",
    f"{OPTIONS}[0].random_horizontal_flip.keypoint_flip_permutation": "[1]",
    f"{OPTIONS}[2].random_vertical_flip.keypoint_flip_permutation": "[1]",
}


@pytest.mark.parametrize(("path", "value"), NOT_DONE.items(), ids=NOT_DONE)
def test_what_is_not_done_here_is_refused_with_its_path(path, value):
    message = refusal_of(f"{path}={value}")
    assert message.startswith(f"--hparams_overrides: {path} {value}: must be ".replace("2.0:", "2:"))


def test_the_use_of_bfloat16_is_a_flag():
    assert refusal_of("use_bfloat16=true").endswith("must be false; the flag --amp asks for mixed precision")


REFUSED = [
    path for path in all_paths() if describe(path)[1].message_type and describe(path)[1].message_type.name == "opaque"
]


@pytest.mark.parametrize("path", REFUSED)
def test_a_message_that_is_not_done_here_is_refused(path):
    message = refusal_of(f"{path}={{}}")
    assert message.startswith(f"--hparams_overrides: {path}")


@pytest.mark.parametrize(
    "step",
    sorted(
        {*STEPS}
        - {"random_horizontal_flip", "random_crop_image", "random_distort_color", "random_vertical_flip"}
        - {"random_rotation90"}
    ),
)
def test_other_augmentation_steps_are_refused(step):
    assert refusal_of(f"{OPTIONS}[2].{step}={{}}") == (
        f"--hparams_overrides: {OPTIONS}[2].{step}: not offered here; what is: random_horizontal_flip, "
        "random_crop_image, random_distort_color, random_vertical_flip, random_rotation90"
    )


NEEDED = [
    f"{EXTRACTOR}conv_hyperparams.initializer.truncated_normal_initializer",
    f"{PREDICTOR}conv_hyperparams.initializer.random_normal_initializer",
    f"{SSD}image_resizer.fixed_shape_resizer",
    f"{SSD}anchor_generator.multiscale_anchor_generator",
    f"{SSD}box_coder.faster_rcnn_box_coder",
    f"{SSD}box_predictor.weight_shared_convolutional_box_predictor",
    f"{SSD}matcher.argmax_matcher",
    f"{SSD}similarity_calculator.iou_similarity",
    f"{SSD}loss.classification_loss.weighted_sigmoid_focal",
    f"{EXTRACTOR}conv_hyperparams.regularizer.l2_regularizer",
    "model.ssd",
]


@pytest.mark.parametrize("path", NEEDED)
def test_what_is_needed_and_missing_is_named(path):
    parent, _, name = path.rpartition(".")
    message = refusal_of(f"{parent}={{}}")
    assert message == f"--hparams_overrides: {parent}: has no {name}, which is needed"


CHOICES = {
    f"{SSD}loss.localization_loss": "weighted_smooth_l1, weighted_giou",
    "train_config.optimizer": "momentum_optimizer, adam_optimizer, rms_prop_optimizer",
    f"{MOMENTUM}learning_rate": "cosine_decay_learning_rate, constant_learning_rate",
}


@pytest.mark.parametrize("path", CHOICES)
def test_a_missing_choice_names_what_it_may_be(path):
    assert refusal_of(f"{path}={{}}") == f"--hparams_overrides: {path}: has none of {CHOICES[path]}, and one is needed"


@pytest.mark.parametrize(
    ("path", "offered"),
    [
        (f"{SSD}loss.localization_loss.weighted_iou", "weighted_smooth_l1, weighted_giou"),
        (f"{MOMENTUM}learning_rate.manual_step_learning_rate", "cosine_decay_learning_rate, constant_learning_rate"),
        (f"{PREDICTOR}conv_hyperparams.sync_batch_norm", "batch_norm, group_norm"),
    ],
)
def test_a_refused_choice_names_what_is_offered(path, offered):
    assert refusal_of(f"{path}={{}}") == f"--hparams_overrides: {path}: not offered here; what is: {offered}"


def test_an_initializer_of_the_other_kind_is_refused():
    other = f"{EXTRACTOR}conv_hyperparams.initializer.random_normal_initializer"
    assert refusal_of(f"{other}.stddev=0.03") == (
        f"--hparams_overrides: {other}: must be truncated_normal_initializer; SSD320 is built that way"
    )


def test_an_empty_augmentation_step_is_refused():
    message = refusal_of(f"{OPTIONS}[0]={{}}")
    assert message.startswith(f"--hparams_overrides: {OPTIONS}[0]: is empty; it may hold one of random_horizontal_flip")


RANGES = {
    f"{SSD}num_classes": ("0", "at least 1 and at most 1000000"),
    f"{NMS}iou_threshold": ("1.5", "at least 0 and at most 1"),
    f"{NMS}score_threshold": ("nan", "a finite number, at least 0 and at most 1"),
    f"{NMS}max_detections_per_class": ("0", "at least 1"),
    f"{SSD}box_coder.faster_rcnn_box_coder.y_scale": ("0", "above 0"),
    f"{SSD}matcher.argmax_matcher.matched_threshold": ("-1", "at least 0 and at most 1"),
    f"{SSD}anchor_generator.multiscale_anchor_generator.anchor_scale": ("inf", "a finite number, above 0"),
    f"{SSD}anchor_generator.multiscale_anchor_generator.scales_per_octave": ("0", "at least 1 and at most 100"),
    f"{SSD}loss.classification_loss.weighted_sigmoid_focal.alpha": ("2", "at least 0 and at most 1"),
    f"{SSD}loss.localization_loss.weighted_smooth_l1.delta": ("0", "above 0"),
    f"{SSD}loss.localization_weight": ("-1", "at least 0"),
    f"{OPTIONS}[1].random_crop_image.min_area": ("0", "above 0 and at most 1"),
    f"{OPTIONS}[1].random_crop_image.overlap_thresh": ("2", "at least 0 and at most 1"),
    f"{OPTIONS}[2].random_distort_color.color_ordering": ("2", "at least 0 and at most 1"),
    "train_config.batch_size": ("0", "at least 1"),
    "train_config.num_steps": ("-1", "at least 0"),
    "train_input_reader.shuffle_buffer_size": ("0", "at least 1"),
    f"{COSINE}learning_rate_base": ("0", "above 0"),
    f"{COSINE}warmup_learning_rate": ("0.2", "at least 0 and at most 0.16"),
    f"{COSINE}total_steps": ("1000", "above the 1000 steps of warmup_steps and hold_base_rate_steps"),
    f"{COSINE}warmup_steps": ("-1", "at least 0"),
    f"{MOMENTUM}momentum_optimizer_value": ("1", "below 1"),
    f"{EXTRACTOR}type": ("ssd_mobilenet_v1", "ssd_resnet50_v1_fpn"),
    "train_config.fine_tune_checkpoint_type": ("both", "classification or detection"),
    "eval_config.metrics_set": ("pascal_voc_detection_metrics", "coco_detection_metrics"),
}


@pytest.mark.parametrize("path", RANGES)
def test_a_value_out_of_range_is_refused_with_what_is_allowed(path):
    value, allowed = RANGES[path]
    assert refusal_of(f"{path}={value}") == f"--hparams_overrides: {path} {value}: must be {allowed}"


def test_values_that_contradict_each_other_are_refused():
    crop = f"{OPTIONS}[1].random_crop_image."
    assert "unmatched_threshold 0.6: must be at most" in refusal_of(
        f"{SSD}matcher.argmax_matcher.unmatched_threshold=0.6"
    )
    assert "max_detections_per_class 200" in refusal_of(f"{NMS}max_detections_per_class=200")
    assert f"{crop}min_area 0.75: must be at most max_area 0.5" in refusal_of(f"{crop}max_area=0.5")
    assert f"{crop}min_aspect_ratio 4: must be at most" in refusal_of(f"{crop}min_aspect_ratio=4")


KEEP = f"{SSD}image_resizer.keep_aspect_ratio_resizer"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (f"{KEEP}.max_dimension=320", f"{KEEP}.pad_to_max_dimension false (its default): must be true; all inputs"),
        (
            f"{KEEP}.max_dimension=320,{KEEP}.pad_to_max_dimension=true,{KEEP}.min_dimension=300",
            f"{KEEP}.min_dimension 300: must be 320; as max_dimension",
        ),
        (
            f"{KEEP}.max_dimension=320,{KEEP}.pad_to_max_dimension=true,{KEEP}.min_dimension=320,"
            f"{KEEP}.per_channel_pad_value=[1]",
            f"{KEEP}.per_channel_pad_value [1]: must be []",
        ),
    ],
)
def test_pictures_in_proportion_are_padded_to_one_size(changes, words):
    assert words in refusal_of(changes)


def test_the_harmless_fields_of_the_shipped_configs_are_told_in_three_sentences():
    freeze, boxes, rest = experiment()[1]
    assert freeze.startswith("model.ssd.freeze_batchnorm true has no effect")
    assert "conv_hyperparams.batch_norm.train false" in freeze
    assert "--freeze_batch_norm" in freeze
    assert boxes == "train_config.max_number_of_boxes has no effect here: no box is dropped, however many an image has"
    assert rest == (
        "train_config.replicas_to_aggregate, train_config.sync_replicas, train_config.startup_delay_steps, "
        "eval_config.num_examples and eval_input_reader[0].num_readers have no effect here"
    )


def test_group_norm_is_told_with_what_stays_batch_norm_and_how_that_is_frozen():
    grouped, freeze, *_ = experiment(GROUPED)[1]
    assert grouped == (
        "conv_hyperparams.group_norm: pyramid and heads have group normalization; the backbone keeps batch "
        "normalization and trains it"
    )
    assert freeze.endswith("in the original; to freeze, use --freeze_batch_norm of main.py")


@pytest.mark.parametrize(("here", "there"), [(EXTRACTOR, PREDICTOR), (PREDICTOR, EXTRACTOR)])
def test_group_norm_in_one_of_two_places_is_refused(here, there):
    paths = [f"{part}conv_hyperparams.group_norm" for part in (here, there)]
    assert refusal_of(f"{paths[0]}={{}}") == (
        f"--hparams_overrides: {paths[0]}: needs {paths[1]} too; pyramid and heads have the same normalization"
    )


def test_no_normalization_is_refused(tmp_path):
    lines = ("batch_norm {", "  scale: true", "  decay: 0.997", "  epsilon: 0.001", "}")
    path, _ = edited(tmp_path, "".join(f"{' ' * 10}{line}\n" for line in lines), "")
    with pytest.raises(UsageError) as caught:
        to_experiment(load_pipeline(path), run=RunConfig())
    assert str(caught.value).endswith(
        f": {PREDICTOR}conv_hyperparams: has none of batch_norm, group_norm, and one is needed"
    )


def test_two_normalizations_in_one_place_are_refused(tmp_path):
    one = "          batch_norm {"
    path, line = edited(tmp_path, one, f"          group_norm {{}}\n{one}")
    with pytest.raises(UsageError) as caught:
        load_pipeline(path)
    assert str(caught.value) == (
        f'{path}:{line + 1}: {PREDICTOR}conv_hyperparams.batch_norm: Field "batch_norm" is specified along with field '
        '"group_norm", another member of one choice.'
    )


@pytest.mark.parametrize(
    "override",
    [
        "train_config.prefetch_queue_capacity=7",
        "train_input_reader.queue_capacity=7",
        "train_input_reader.sample_1_of_n_examples=7",
        "eval_config.num_visualizations=7",
        "mask_type=PNG_MASKS",
        f"{EXTRACTOR}min_depth=8",
    ],
)
def test_a_harmless_field_is_told_of_and_changes_nothing(override):
    config, notes = experiment(override)
    assert config == experiment()[0]
    assert override.rpartition("=")[0].rpartition(".")[2] in notes[-1]


def test_a_switch_for_the_same_result_goes_without_a_word():
    assert (
        experiment("eval_shuffle=true,eval_num_epochs=3,eval_config.include_metrics_per_category=true") == experiment()
    )


def test_limits_of_boxes_are_told_of_wherever_they_are():
    _, notes = experiment("train_input_reader.max_number_of_boxes=7,eval_input_reader[0].max_number_of_boxes=7")
    assert any(
        note.startswith(
            "train_config.max_number_of_boxes, train_input_reader.max_number_of_boxes and "
            "eval_input_reader[0].max_number_of_boxes have no effect here: no box is dropped"
        )
        for note in notes
    )


def test_only_the_first_reader_evaluates():
    _, notes = experiment("eval_input_reader[1].tf_record_input_reader.input_path=x")
    assert "eval_input_reader: only the first of them is used" in notes
