"""Overrides: their syntax, their effect, and the errors for invalid ones."""

import pytest

from object_detection.pipeline.fields import plain
from object_detection.pipeline.hparams import SHORT_NAMES, override, split
from object_detection.pipeline.text import all_paths, describe, holder
from tests.object_detection.pipeline.pipelines import COSINE, MOMENTUM, NMS, OPTIONS, SSD, changed, shipped
from utils.errors import UsageError


def value_of(pipeline, path):
    message, name = holder(pipeline.message, path)
    return plain(describe(path)[1], getattr(message, name))


def problem_of(text):
    with pytest.raises(UsageError) as caught:
        override(shipped(), text)
    return str(caught.value).removeprefix("--hparams_overrides: ")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a=1,b=2", ["a=1", "b=2"]),
        (" a = 1 , b=2", ["a = 1", "b=2"]),
        ("a=[1,2],b={}", ["a=[1,2]", "b={}"]),
        ("a=x-[0-9]*,b=1", ["a=x-[0-9]*", "b=1"]),
        ('a="1,2",b=\'x,"\'', ['a="1,2"', "b='x,\"'"]),
        ("a=Ann's,b=Ben's", ["a=Ann's", "b=Ben's"]),
        ('a=["x,y", z],b=1', ['a=["x,y", z]', "b=1"]),
        ("", [""]),
    ],
)
def test_commas_inside_of_brackets_and_quotes_belong_to_the_value(text, parts):
    assert split(text) == parts


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("num_classes=3", f"{SSD}num_classes", 3),
        ("batch_size=+2", "train_config.batch_size", 2),
        ("train_steps=7", "train_config.num_steps", 7),
        ("momentum_optimizer_value=0.5", f"{MOMENTUM}momentum_optimizer_value", 0.5),
        ("focal_loss_gamma=1", f"{SSD}loss.classification_loss.weighted_sigmoid_focal.gamma", 1.0),
        ("focal_loss_alpha=0.5", f"{SSD}loss.classification_loss.weighted_sigmoid_focal.alpha", 0.5),
        ("fine_tune_checkpoint=/a b/c", "train_config.fine_tune_checkpoint", "/a b/c"),
        ("fine_tune_checkpoint='/a,b'", "train_config.fine_tune_checkpoint", "/a,b"),
        ("train_input_path=a*", "train_input_reader.tf_record_input_reader.input_path", ("a*",)),
        ("train_input_path=a=b", "train_input_reader.tf_record_input_reader.input_path", ("a=b",)),
        ("train_input_path=a[0-9]", "train_input_reader.tf_record_input_reader.input_path", ("a[0-9]",)),
        ("eval_input_path=[a, 'b,c']", "eval_input_reader[0].tf_record_input_reader.input_path", ("a", "b,c")),
        ("eval_input_path=[]", "eval_input_reader[0].tf_record_input_reader.input_path", ()),
        ("label_map_path=m", "train_input_reader.label_map_path", "m"),
        ("label_map_path=m", "eval_input_reader[0].label_map_path", "m"),
        ("mask_type=PNG_MASKS", "eval_input_reader[0].mask_type", "PNG_MASKS"),
        ("train_shuffle=F", "train_input_reader.shuffle", False),
        ("eval_shuffle=1", "eval_input_reader[0].shuffle", True),
        ("eval_num_epochs=2", "eval_input_reader[0].num_epochs", 2),
        ("eval_with_moving_averages=true", "eval_config.use_moving_averages", True),
        ("retain_original_images_in_eval=false", "eval_config.retain_original_images", False),
        ("use_bfloat16=t", "train_config.use_bfloat16", True),
        ("classification_localization_weight_ratio=3", f"{SSD}loss.classification_weight", 3.0),
        ("classification_localization_weight_ratio=3", f"{SSD}loss.localization_weight", 1.0),
        ("learning_rate=0.08", f"{COSINE}learning_rate_base", 0.08),
        ("learning_rate=0.08", f"{COSINE}warmup_learning_rate", 0.0346656),
        ("load_pretrained=false", "train_config.fine_tune_checkpoint", ""),
        ("load_pretrained=true", "train_config.fine_tune_checkpoint", "/checkpoints/resnet_v1_50/model.ckpt"),
        ("load_pretrained=false,fine_tune_checkpoint=x", "train_config.fine_tune_checkpoint", ""),
        ("load_pretrained=true,fine_tune_checkpoint=x", "train_config.fine_tune_checkpoint", "x"),
        (f"{NMS}iou_threshold=0.5", f"{NMS}iou_threshold", 0.5),
        (f"{SSD}post_processing.score_converter=IDENTITY", f"{SSD}post_processing.score_converter", "IDENTITY"),
        (f"{OPTIONS}[1].random_crop_image.min_area=5e-1", f"{OPTIONS}[1].random_crop_image.min_area", 0.5),
        ("eval_config.metrics_set=[a,b]", "eval_config.metrics_set", ("a", "b")),
        (
            "eval_input_reader[0].name=val,eval_input_configs:val:num_readers=9",
            "eval_input_reader[0].num_readers",
            9,
        ),
    ],
)
def test_an_override_sets_its_field_and_says_so(text, path, value):
    pipeline = changed(text)
    assert value_of(pipeline, path) == pytest.approx(value)
    if not text.startswith("load_pretrained=true"):
        assert pipeline.origins[path] == "--hparams_overrides"


def test_several_overrides_apply_in_turn_and_leave_the_rest_alone():
    before = shipped()
    kept = before.message.SerializeToString(), dict(before.origins)
    after = override(before, "num_classes=3, batch_size=2,,eval_input_path=x")
    assert [value_of(after, path) for path in (f"{SSD}num_classes", "train_config.batch_size")] == [3, 2]
    assert value_of(after, "train_config.num_steps") == 12_500
    assert (before.message.SerializeToString(), before.origins) == kept
    assert override(before, "") == before


def test_messages_can_be_set_emptied_added_and_taken_away():
    steps = "train_config.data_augmentation_options"
    pipeline = changed(f"{steps}[2].random_distort_color={{}},{steps}[1].random_crop_image={{}}")
    options = pipeline.message.train_config.data_augmentation_options
    kinds = [option.WhichOneof("alternatives") for option in options]
    assert kinds == ["random_horizontal_flip", "random_crop_image", "random_distort_color"]
    assert not options[1].random_crop_image.HasField("min_area")
    assert f"{steps}[1].random_crop_image.min_area" not in pipeline.origins
    assert not changed(f"{steps}=[]").message.train_config.data_augmentation_options
    assert changed("eval_input_reader=[]").message.train_input_reader.label_map_path


def test_a_reader_that_the_config_has_not_got_is_added_by_its_files():
    pipeline = override(changed("eval_input_reader=[]"), "eval_input_path=x,label_map_path=m")
    reader = pipeline.message.eval_input_reader[0]
    assert ([*reader.tf_record_input_reader.input_path], reader.label_map_path) == (["x"], "m")


def test_a_label_map_adds_no_reader():
    assert not override(changed("eval_input_reader=[]"), "label_map_path=m").message.eval_input_reader


def test_another_alternative_takes_the_place_of_the_first():
    pipeline = changed("train_config.optimizer.adam_optimizer={}")
    assert pipeline.message.train_config.optimizer.WhichOneof("alternatives") == "adam_optimizer"


def test_rate_and_momentum_are_those_of_the_configs_own_optimizer_and_schedule():
    rms = "train_config.optimizer.rms_prop_optimizer"
    constant = f"{rms}.learning_rate.constant_learning_rate.learning_rate"
    before = changed(f"{constant}=0.5")
    after = override(before, "learning_rate=0.25,momentum_optimizer_value=0.75")
    assert [value_of(after, path) for path in (constant, f"{rms}.momentum_optimizer_value")] == [0.25, 0.75]
    falling = f"{rms}.learning_rate.cosine_decay_learning_rate."
    after = override(changed(f"{falling}learning_rate_base=2,{falling}warmup_learning_rate=1"), "learning_rate=0.25")
    paths = (f"{falling}learning_rate_base", f"{falling}warmup_learning_rate")
    assert [value_of(after, path) for path in paths] == [0.25, 0.125]


def test_adam_has_no_momentum_to_set():
    with pytest.raises(
        UsageError, match=r"momentum_optimizer_value: no such field; there is train_config\.optimizer\."
    ):
        override(changed("train_config.optimizer.adam_optimizer={}"), "momentum_optimizer_value=0.5")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("batchsize=3", "batchsize: no such field; did you mean batch_size?"),
        ("iou_threshold=0.5", f"iou_threshold: no such field; there is {NMS}iou_threshold"),
        ("model.ssd.num_clases=3", "model.ssd.num_clases: no such field; did you mean num_classes?"),
        ("train_config.batch=3", "train_config.batch: no such field; did you mean batch_size or batch_queue_capacity?"),
        ("model..ssd={}", "model..ssd: no such field; DetectionModel has ssd"),
        ("a b=3", "a b: no such field; TrainEvalPipelineConfig has eval_config"),
        ("num_classes=three", "num_classes=three: must be an integer of 32 bits"),
        ("num_classes=3.0", "num_classes=3.0: must be an integer of 32 bits"),
        ("num_classes=", "num_classes=: must be an integer of 32 bits"),
        ("num_classes=2147483648", "num_classes=2147483648: must be an integer of 32 bits"),
        ("learning_rate=fast", "learning_rate=fast: must be a number"),
        ("load_pretrained=maybe", "load_pretrained=maybe: must be true or false"),
        ("train_shuffle=2", "train_shuffle=2: must be true or false"),
        ("mask_type=PNG", "mask_type=PNG: must be one of DEFAULT, NUMERICAL_MASKS, PNG_MASKS"),
        ("model.ssd=3", "model.ssd=3: must be {}, since it holds no value but add_background_class"),
        (f"{OPTIONS}=3", f"{OPTIONS}=3: must be [], since it holds no value but"),
        (f"{OPTIONS}.random_crop_image={{}}", f"{OPTIONS}.random_crop_image: {OPTIONS} is a list; its first"),
        (f"{OPTIONS}[4].random_crop_image={{}}", f"{OPTIONS}[4].random_crop_image: data_augmentation_options has 2"),
        ("model[0].ssd={}", "model[0].ssd: model is not a list of messages; leave out the index"),
        ("eval_config.metrics_set[0]=a", "eval_config.metrics_set[0]: metrics_set is not a list of messages"),
        (
            "train_config.batch_size.x=2",
            "train_config.batch_size.x: train_config.batch_size holds a value and no fields",
        ),
        (f"train_config.batch_size={'9' * 9000}", "train_config.batch_size="),
        (f"train_config.data_augmentation_options[{'9' * 9000}].x=1", "train_config.data_augmentation_options["),
        ("train_config.fine_tune_checkpoint_versio=V2", "train_config.fine_tune_checkpoint_versio: no such field; did"),
        ("model.faster_rcnn.num_classes=3", "model.faster_rcnn.num_classes: not offered here; what is: ssd"),
        ("graph_rewriter.quantization.delay=3", "graph_rewriter.quantization.delay: not offered here; leave it out"),
        ("eval_input_configs:x:shuffle=true", "eval_input_configs:x:shuffle: the config's eval_input_reader has none"),
        (
            "train_input_path=a,b",
            "b: must be name=value; put a value with commas in quotes, a list in brackets",
        ),
        ("=3", "=3: must be name=value"),
        ("batch_size=2,batch_size=2", "batch_size is given twice"),
        ("train_input_path=[a,b", "train_input_path=[a,b: has an unmatched bracket"),
        ("fine_tune_checkpoint='a", "fine_tune_checkpoint='a: has an unmatched quote"),
    ],
)
def test_an_override_that_does_not_fit_is_named(text, problem):
    assert problem_of(text).startswith(problem)


def test_every_short_name_stands_for_a_field():
    assert set(SHORT_NAMES.values()) <= set(all_paths())


@pytest.mark.parametrize("value", ["1", "true", "x", "{}", "[]", "[a,b]", '"', "nan", ""])
def test_any_value_for_any_field_is_taken_or_refused(value):
    outcomes = set()
    for path in all_paths():
        try:
            override(shipped(), f"{path}={value}")
            outcomes.add("taken")
        except UsageError:
            outcomes.add("refused")
    assert "refused" in outcomes
