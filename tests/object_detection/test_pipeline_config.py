"""The shipped configs value by value, and what a config becomes."""

import numpy as np
import pytest

from object_detection.pipeline_config import ROOT, load_pipeline, to_experiment
from object_detection.pipeline_fields import plain
from object_detection.pipeline_text import describe, holder
from tests.object_detection.pipelines import (
    ALL,
    COSINE,
    EXTRACTOR,
    MOMENTUM,
    NMS,
    OPTIONS,
    PREDICTOR,
    SSD,
    edited,
    experiment,
    shipped,
)
from utils.config import Duration, PrecisionConfig, RunConfig
from utils.detection_config import (
    AnchorSpec,
    BoxCoderSpec,
    ColorSpec,
    CropSpec,
    DetectionConfig,
    FlipSpec,
    LossSpec,
    MatcherSpec,
    PostProcessingSpec,
)
from utils.errors import UsageError
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
    assert (config.model.architecture, config.model.backbone) == ("ssd320", "resnet_v1_50")
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
    assert config.detection == DetectionConfig(augmentation=(FlipSpec(), crop, *jitter), freeze_batch_norm=False)


@pytest.mark.parametrize("name", RATES)
def test_the_learning_rate_of_a_shipped_config_is_the_published_one(name):
    optimizer = experiment(name=name)[0].optimizer
    schedule = make_schedule(optimizer, global_batch=7, steps_per_epoch=11, total_steps=13)
    steps = np.array([*RATES[name]], np.float64)
    np.testing.assert_allclose(schedule.rate(steps), [*RATES[name].values()], rtol=1e-6, atol=1e-12)


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
            score_threshold=0.01, iou_threshold=0.5, max_detections_per_class=20, max_total_detections=50
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


def test_augmentation_keeps_the_order_of_the_file(tmp_path):
    path, _ = edited(tmp_path, "random_horizontal_flip {}", "random_distort_color {}")
    config, _ = to_experiment(load_pipeline(path), run=RunConfig())
    assert [type(step) for step in config.detection.augmentation] == [ColorSpec, CropSpec]
    assert experiment(f"{OPTIONS}=[]")[0].detection.augmentation == ()


def test_both_hyperparams_together_freeze_batch_norm():
    both = f"{EXTRACTOR}conv_hyperparams.batch_norm.train=false,{PREDICTOR}conv_hyperparams.batch_norm.train=false"
    assert experiment(both)[0].detection.freeze_batch_norm is True
    with pytest.raises(UsageError, match=r"batch_norm\.train true: must be false, which model\.ssd\.feature_extractor"):
        experiment(f"{EXTRACTOR}conv_hyperparams.batch_norm.train=false")


def test_weight_decay_is_one_for_all():
    paths = [f"{part}conv_hyperparams.regularizer.l2_regularizer.weight" for part in (EXTRACTOR, PREDICTOR)]
    assert experiment(f"{paths[0]}=0.1,{paths[1]}=0.1")[0].optimizer.weight_decay == 0.1
    with pytest.raises(UsageError, match=r"box_predictor\S+weight 0\.1: must be 0\.0004, which \S+feature_extractor"):
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
    with pytest.raises(UsageError, match=r"num_steps 0: must be a positive integer, or --num_train_steps be given$"):
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


def test_input_files_may_be_lists_and_have_commas():
    config, _ = experiment('train_input_path=[a*,"b*, c*"],eval_input_path="d*,e*"')
    assert config.data.train_files == ("a*", "b*", "c*")
    assert config.data.validation_files == ("d*", "e*")


def test_a_label_map_is_looked_for_here_and_then_in_the_repository(tmp_path, monkeypatch):
    (tmp_path / "object_detection" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    file = "README.md"  # any that the repository has
    assert experiment(f"label_map_path={file}")[0].data.label_map_file == str(ROOT / file)
    (tmp_path / file).touch()
    assert experiment(f"label_map_path={file}")[0].data.label_map_file == file
    assert experiment("label_map_path=none.pbtxt")[0].data.label_map_file == "none.pbtxt"
    assert experiment("label_map_path=")[0].data.label_map_file is None


def test_two_label_maps_are_one_too_many():
    with pytest.raises(UsageError, match=r"eval_input_reader\[0\]\.label_map_path b: must be object_detection/data"):
        experiment("eval_input_reader[0].label_map_path=b")


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("train", "train_input_reader"),
        ("train_and_evaluate", "train_input_reader"),
        ("train_and_evaluate", "eval_input_reader[0]"),
        ("evaluate", "eval_input_reader[0]"),
        ("inference_benchmark", "eval_input_reader[0]"),
    ],
)
def test_the_files_that_a_mode_reads_are_needed(mode, missing):
    with pytest.raises(UsageError) as caught:
        experiment(f"{missing}.tf_record_input_reader.input_path=[]", run=RunConfig(mode=mode))
    assert f"{missing}.tf_record_input_reader.input_path: needed; --hparams_overrides=" in str(caught.value)


def test_a_mode_does_without_the_files_that_it_does_not_read():
    experiment("eval_input_reader=[]", run=RunConfig(mode="train"))
    experiment("train_input_path=[]", run=RunConfig(mode="evaluate"))
    experiment("eval_input_reader=[]", run=RunConfig(mode="evaluate"), eval_split="train")


def test_evaluation_alone_has_a_batch_size_of_its_own_where_the_config_gives_one():
    alone = RunConfig(mode="evaluate")
    assert experiment(run=alone)[0].data.batch_size_per_replica == 32
    assert experiment("eval_config.batch_size=8", run=alone)[0].data.batch_size_per_replica == 8
    config, notes = experiment("eval_config.batch_size=8")
    assert config.data.batch_size_per_replica == 32
    assert any(note.startswith("eval_config.batch_size 8 has no effect where training takes part") for note in notes)


def test_evaluation_may_leave_examples_out():
    sampled = "eval_input_reader[0].sample_1_of_n_examples=3"
    assert experiment(sampled)[0].data.eval_every == 3
    assert experiment(sampled, eval_every=2)[0].data.eval_every == 2
    config, _ = experiment(eval_split="train", eval_every=5, run=RunConfig(mode="evaluate"))
    assert (config.data.eval_split, config.data.eval_every) == ("train", 5)


def test_the_shuffle_buffer_is_the_projects_unless_the_config_says_one():
    assert experiment()[0].data.shuffle_buffer == 4096
    assert experiment("train_input_reader.shuffle_buffer_size=10")[0].data.shuffle_buffer == 10


def test_what_is_no_business_of_the_config_is_handed_on():
    run = RunConfig(mode="inference_benchmark", duration=Duration(value=400, unit="batch"), warmup_steps=100)
    precision = PrecisionConfig(amp=True)
    config, _ = experiment(run=run, precision=precision, data_format="NCHW")
    assert (config.run, config.precision, config.model.data_format) == (run, precision, "NCHW")
