"""The command line: familiar names and defaults, prefixes and contradictions; no flag is ever ignored."""

import json
import subprocess
import sys

import pytest

from model.specs import QuantizationSpec
from utils.augment_config import AugmentConfig
from utils.cmdline_helper import build_parser, parse, to_flags
from utils.config import ARCHITECTURES, MODES, Duration
from utils.errors import UsageError
from utils.flags.table import BY_NAME, FLAGS
from utils.input.augmentation_specs import classification_steps
from utils.object_augment_config import ObjectAugmentConfig

BENCHMARK = ["--mode=inference_benchmark", "--batch_size=16"]
TRAIN = ["--mode=train", "--batch_size=8", "--data_dir=D"]
QUANTIZATION = ["--quantize", "--symmetric", "--use_qdq", "--quant_delay=7", "--per_channel_weights"]

FAMILIAR_DEFAULTS = {
    "arch": None,
    "mode": "train_and_evaluate",
    "num_iter": 1,
    "run_iter": -1,
    "iter_unit": "epoch",
    "warmup_steps": 50,
    "model_dir": None,
    "results_dir": ".",
    "log_filename": "log.json",
    "display_every": 10,
    "seed": None,
    "gpu_memory_fraction": None,
    "gpu_id": None,
    "export_dir": None,
    "to_predict": None,
    "finetune_checkpoint": None,
    "use_final_conv": False,
    "synthetic_data_size": None,
    "dali": False,
    "data_idx_dir": None,
    "lr_init": 0.1,
    "lr_warmup_epochs": 5.0,
    "weight_decay": 1e-4,
    "weight_init": "fan_out",
    "momentum": 0.9,
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "cosine_lr": False,
    "xla": False,
    "data_format": "NHWC",
    "amp": False,
    "cpu": False,
    "static_loss_scale": -1.0,
}
OUR_DEFAULTS = {
    **{"num_classes": None, "image_size": None},
    **{"top_k": 5, "checkpoint_every": 1000},
    "keep_checkpoints": 5,
    **{"eval_every_epochs": 0, "eval_count": 1, "histograms_every": 0},
    "log_level": "info",
    "console": "auto",
    **{"optimizer": "momentum", "beta2": None, "epsilon": None, "clip_norm": None},
    **{"schedule": "step", "lr_final": None, "lr_warmup_start": None, "recipe_batch": None, "scale_recipe": False},
    **{"loss": "softmax", "bce_target_threshold": None, "ema_every": 1, "accumulate_steps": 1},
    **{"multi_label": False, "min_score": 0.5},
    **{"focal_gamma": None, "class_weights": "none", "balanced_sampling": False, "balanced_power": 1.0},
    **{"no_bias_decay": False, "zero_init_residual": False},
    "deterministic": False,
    "min_crop_area": 0.08,
    "color_jitter": 0.0,
    "max_bad_records": 0,
    **{"folds": None, "fold": None},
    "class_names": None,
    "early_stop_patience": 0,
    "no_tf32": False,
    "amp_dtype": "auto",
    "head_init": "small",
    "scaled_decoding": False,
}
OUR_DEFAULTS |= {"auto_augment": "none", "rand_ops": 2, "rand_magnitude": 7.0, "rand_std": 0.5, "random_erasing": 0.0}
OUR_DEFAULTS |= {"gray": 0.0, "blur": 0.0, "crop_sampling": "tensorflow", "max_crop_area": 1.0, "crop_aspect": 4 / 3}
OUR_DEFAULTS |= {"cutmix": 0.0, "stochastic_depth": 0.0, "dropout": 0.0, "adaptive_clip": False, "layer_decay": 1.0}
OUR_DEFAULTS |= {"ema_decay_steps": None, "distill_from": None, "distill_alpha": None, "distill_temperature": None}
OUR_DEFAULTS |= {"train_image_size": None, "progressive_sizes": None, "eval_crop": None}
OUR_DEFAULTS |= {"repeated_augmentation": 1, "shuffle": "buffer"}
OUR_DEFAULTS |= {"test_time_augmentation": False}
OUR_DEFAULTS |= {"reset_head": False, "freeze_backbone": False, "freeze_batch_norm": False, "head_lr_multiplier": 1.0}
OUR_DEFAULTS |= {"ema_decay": None, "eval_weights": None, "per_channel_weights": False, "sync_batch_norm": False}
OUR_DEFAULTS |= {"no_report": False, "fp16_compression": False, "stall_timeout_s": 60.0, "profile": None}
FAMILIAR_DEFAULTS |= {"quantize": False, "symmetric": False, "use_qdq": False, "quant_delay": None}


def config_of(*arguments, environ=None):
    return parse(arguments, environ or {}).config


def test_every_familiar_flag_is_there_with_its_default():
    flags = to_flags(config_of("--batch_size=3", "--data_dir=D"))
    assert flags == FAMILIAR_DEFAULTS | OUR_DEFAULTS | {"batch_size": 3, "data_dir": "D"}
    offered = {flag.name for flag in FLAGS if "resnet50" in flag.architectures}
    assert offered == flags.keys() | {"use_final_conv", "use_static_loss_scaling", "dry_run"}


def test_an_automatic_batch_is_still_to_be_measured():
    auto = config_of("--batch_size=auto", "--data_dir=D")
    assert (auto.data.auto_batch, auto.data.batch_size_per_replica) == (True, 32)
    assert not config_of("--batch_size=32", "--data_dir=D").data.auto_batch
    assert config_of("--mode=predict", "--to_predict=P", "--batch_size=auto").data.auto_batch


def test_every_flag_changes_its_own_field():
    config = config_of(
        *("--arch=resnet50", "--mode=train_and_evaluate", "--export_dir=E", "--batch_size=7", "--num_iter=90"),
        *("--run_iter=4", "--iter_unit=epoch", "--warmup_steps=3", "--model_dir=M", "--results_dir=R"),
        *("--log_filename=l.json", "--display_every=2", "--seed=5", "--gpu_memory_fraction=0.5", "--gpu_id=1"),
        *("--finetune_checkpoint=F", "--top_k=3", "--log_level=debug", "--data_dir=D", "--synthetic_data_size=64"),
        *("--num_classes=10", "--class_names=C", "--min_crop_area=0.05", "--max_bad_records=6", "--lr_init=0.256"),
        *("--color_jitter=0.4", "--cutmix=1", "--auto_augment=rand", "--rand_ops=3", "--rand_magnitude=6"),
        *("--rand_std=0.4", "--random_erasing=0.1", "--gray=0.2", "--blur=0.3", "--crop_sampling=uniform"),
        *("--max_crop_area=0.9", "--crop_aspect=2", "--progressive_sizes=48:0,64:0.4", "--eval_crop=224/236"),
        "--repeated_augmentation=3",
        *("--lr_warmup_epochs=0.5", "--weight_decay=3e-5", "--weight_init=fan_in", "--head_init=original"),
        *("--momentum=0.875",),
        *("--label_smoothing=0.1", "--mixup=0.2", "--cosine_lr", "--checkpoint_every=11", "--keep_checkpoints=2"),
        *("--eval_every_epochs=1", "--early_stop_patience=8", "--xla", "--data_format=NCHW", "--amp"),
        *(
            "--amp_dtype=float16",
            "--deterministic",
            "--no_tf32",
            "--static_loss_scale=1024",
            "--dali",
            "--data_idx_dir=I",
        ),
    )
    assert (config.model.architecture, config.model.num_classes, config.model.image_size) == ("resnet50", 10, 64)
    assert (config.model.data_format, config.model.weight_init) == ("NCHW", "fan_in")
    assert config.model.head_init == "original"
    data = config.data
    assert (data.source, data.data_dir, data.batch_size_per_replica, data.class_names_file) == ("dali", "D", 7, "C")
    assert data.index_dir == "I"
    assert (data.min_crop_area, data.color_jitter, data.max_bad_records) == (0.05, 0.4, 6)
    augment = AugmentConfig(
        **{"auto_augment": "rand", "rand_ops": 3, "rand_magnitude": 6.0, "rand_std": 0.4, "random_erasing": 0.1},
        **{"gray": 0.2, "blur": 0.3, "crop_sampling": "uniform", "max_crop_area": 0.9, "crop_aspect": 2.0},
        repeated_augmentation=3,
    )
    assert data.augment == augment
    assert (data.progressive_sizes, config.model.eval_crop) == (((48, 0.0), (64, 0.4)), 224 / 236)
    assert to_flags(config)["progressive_sizes"] == "48:0,64:0.4"
    assert data.augmentation == classification_steps(min_crop_area=0.05, color_jitter=0.4, augment=augment)
    optimizer = config.optimizer
    assert (optimizer.learning_rate_per_256, optimizer.warmup_epochs, optimizer.schedule) == (0.256, 0.5, "cosine")
    assert (optimizer.momentum, optimizer.weight_decay) == (0.875, 3e-5)
    assert (optimizer.label_smoothing, optimizer.mixup_alpha, optimizer.cutmix_alpha) == (0.1, 0.2, 1.0)
    precision = config.precision
    assert (precision.amp, precision.static_loss_scale, precision.xla, precision.tf32) == (True, 1024.0, True, False)
    assert precision.amp_dtype == "float16"
    run = config.run
    assert (run.duration, run.run_limit) == (Duration(value=90), Duration(value=4, flag="run_iter"))
    assert (run.warmup_steps, run.display_every, run.seed, run.top_k) == (3, 2, 5, 3)
    assert (run.results_dir, run.model_dir, run.export_dir, run.finetune_checkpoint) == ("R", "M", "E", "F")
    assert (run.log_filename, run.log_level, run.deterministic) == ("l.json", "debug", True)
    assert (run.checkpoint_every, run.keep_checkpoints) == (11, 2)
    assert (run.eval_every_epochs, run.early_stop_patience) == (1, 8)
    assert (run.gpu_id, run.gpu_memory_fraction, run.cpu) == (1, 0.5, False)


def test_the_units_of_both_durations_go_together():
    run = config_of(*TRAIN, "--num_iter=8", "--iter_unit=batch", "--run_iter=4").run
    assert (run.duration, run.run_limit) == (
        Duration(value=8, unit="batch"),
        Duration(value=4, unit="batch", flag="run_iter"),
    )
    assert config_of(*TRAIN, "--run_iter", "-1").run.run_limit is None


def sample(flag):
    """A value that differs from the default and from the values of all other flags."""
    if flag.is_switch:
        return f"--{flag.name}"
    if isinstance(flag.kind, tuple):
        default = flag.read(config_of(*BENCHMARK, "--arch=resnet50"))
        return f"--{flag.name}={next(value for value in reversed(flag.kind) if value != default)}"
    number = "0.75" if flag.name == "distribution_loss_weight" else "0.25"
    return f"--{flag.name}=" + {"integer": "2", "size": "2", "number": number}.get(flag.kind, "some/name")


@pytest.mark.parametrize("task", [(), ("--arch=ssd320",)], ids=["classification", "detection"])
@pytest.mark.parametrize("mode", MODES)
def test_no_flag_is_ever_ignored(mode, task):
    """In every mode, each flag changes the config, is reported as ineffective, or is rejected."""
    base = [f"--mode={mode}", *task]
    base += ["--to_predict=x.jpg"] if mode == "predict" else ["--batch_size=3"]
    base += ["--num_iter=60"] if "benchmark" in mode else [] if mode == "predict" else ["--data_dir=D"]
    plain = parse(base, {})
    outcomes = {flag.name: outcome(flag, base, plain) for flag in FLAGS if flag.name not in ("mode", "arch")}
    assert len(outcomes) > 60
    assert [name for name, said in outcomes.items() if said != "changed " and not told(name, said)] == []


def outcome(flag, base, plain):
    """The effect of a flag on a command line: "changed " or the message about it."""
    if flag.is_switch and flag.field and flag.read(plain.config) is True:
        return "changed "  # on anyway
    try:
        command = parse([*base, sample(flag)], {})
    except UsageError as refused:
        return str(refused)
    changed = (command.config, command.dry_run) != (plain.config, plain.dry_run)
    return ("changed " if changed else "") + " ".join(command.notes)


def told(name, said):
    return f"--{name} " in said or f"--{name}: " in said


def test_the_parser_offers_exactly_the_flags_of_the_table():
    offered = {name for action in build_parser()._actions for name in action.option_strings}
    table = {f"--{name}" for flag in FLAGS for name in (flag.name, *flag.aliases)}
    assert offered == table


def test_a_dry_run_has_the_config_of_the_run():
    dry, real = parse([*TRAIN, "--dry_run"], {}), parse(TRAIN, {})
    assert (dry.config, dry.notes, dry.dry_run, real.dry_run) == (real.config, real.notes, True, False)


def test_the_flags_of_a_config_read_as_that_config():
    """The PARAMETER record describes the whole run and is JSON."""
    config = config_of(
        *TRAIN, "--amp", "--cosine_lr", "--loss_scale=64", "--image_size=32", "--run_iter=3", "--no_tf32"
    )
    flags = to_flags(config)
    assert json.loads(json.dumps(flags)) == flags
    again = []
    for name, value in flags.items():
        if BY_NAME[name].is_switch:
            again += [f"--{name}"] if value else []
        elif value is not None and "train" in BY_NAME[name].modes:
            again.append(f"--{name}={value}")
    assert parse(again, {}).config == config


def test_predicting_needs_no_batch_size():
    assert config_of("--mode=predict", "--to_predict=x").data.batch_size_per_replica == 32
    assert config_of("--mode=predict", "--to_predict=x", "--batch_size=5").data.batch_size_per_replica == 5


def test_an_empty_data_folder_name_counts_as_not_given():
    assert config_of(*BENCHMARK, "--data_dir", "").data.source == "synthetic"
    assert config_of(*BENCHMARK, "--data_dir", "D").data.source == "tfrecord"


def test_image_size_has_two_names_and_one_value():
    assert config_of(*BENCHMARK, "--synthetic_data_size=96").model.image_size == 96
    assert config_of(*BENCHMARK, "--image_size=96", "--synthetic_data_size=96").model.image_size == 96


def test_static_loss_scaling_stands_for_128():
    assert config_of(*TRAIN, "--amp", "--use_static_loss_scaling").precision.static_loss_scale == 128
    scaled = config_of(*TRAIN, "--amp", "--use_static_loss_scaling", "--loss_scale=128")
    assert scaled.precision.static_loss_scale == 128
    assert config_of(*TRAIN, "--static_loss_scale", "-1").precision.static_loss_scale is None


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_each_flag_of_quantization_sets_its_field(arch):
    config = parse([*TRAIN, f"--arch={arch}", *QUANTIZATION], {}).config
    assert config.model.quantization == QuantizationSpec(symmetric=True, qdq=True, delay=7, per_channel=True)
    flags = to_flags(config)
    asked = {"quantize": True, "symmetric": True, "use_qdq": True, "quant_delay": 7, "per_channel_weights": True}
    assert flags | asked == flags


def test_without_flags_nothing_is_quantized():
    assert parse(TRAIN, {}).config.model.quantization is None
    assert parse([*TRAIN, "--quantize"], {}).config.model.quantization == QuantizationSpec()


def test_a_delay_has_no_effect_without_training():
    command = parse(["--mode=evaluate", "--batch_size=8", "--data_dir=D", "--quantize", "--quant_delay=7"], {})
    assert command.config.model.quantization == QuantizationSpec()
    assert command.notes == ("--quant_delay has no effect in --mode evaluate",)


@pytest.mark.parametrize(
    ("arguments", "notes"),
    [
        ("--mode=train --batch_size=8 --data_dir=D --lr_init=0.1", ()),
        ("--mode=evaluate --batch_size=8 --data_dir=D --lr_init=0.1", ("--lr_init has no effect in --mode evaluate",)),
        ("--mode=evaluate --batch_size=8 --data_dir=D --mixup=0.2 --cos --lr_init=1 --export_dir=E",
         ("--lr_init, --mixup and --cosine_lr have no effect in --mode evaluate",)),
        ("--mode=train --batch_size=8 --data_dir=D --eval_every_epochs=1 --early_stop_patience=3",
         ("--eval_every_epochs and --early_stop_patience have no effect in --mode train",)),
        ("--mode=predict --to_predict=x --data_dir=D", ("--data_dir has no effect in --mode predict",)),
        ("--mode=evaluate --batch_size=8 --data_dir=D --num_iter=90",
         ("--num_iter has no effect in --mode evaluate with --iter_unit epoch, which evaluates every image once",)),
        ("--mode=evaluate --batch_size=8 --data_dir=D --num_iter=90 --iter_unit=batch", ()),
        ("--mode=training_benchmark --batch_size=8 --min_crop_area=0.05",
         ("--min_crop_area has no effect on synthetic images",)),
        ("--mode=training_benchmark --batch_size=8 --min_crop_area=0.05 --data_dir=D", ()),
        ("--mode=train --batch_size=8 --data_dir=D --auto_augment=trivial --rand_ops=3 --rand_std=1",
         ("--rand_ops and --rand_std have no effect without --auto_augment rand",)),
        ("--mode=train --batch_size=8 --data_dir=D --auto_augment=rand --rand_ops=3", ()),
        ("--mode=training_benchmark --batch_size=8 --color_jitter=0.3",
         ("--color_jitter has no effect on synthetic images",)),
        ("--mode=train --batch_size=8 --data_dir=D --scaled_decoding", ()),
        ("--mode=inference_benchmark --batch_size=8 --scaled_decoding",
         ("--scaled_decoding has no effect on synthetic images",)),
        ("--mode=evaluate --batch_size=8 --data_dir=D --color_jitter=0.3",
         ("--color_jitter has no effect in --mode evaluate",)),
        ("--mode=evaluate --batch_size=8 --data_dir=D --amp --loss_scale=64",
         ("--static_loss_scale has no effect in --mode evaluate",)),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_said(arguments, notes):
    assert parse(arguments.split(), {}).notes == notes


def test_what_has_no_effect_stays_out_of_the_config():
    config = config_of("--mode=train", "--batch_size=8", "--data_dir=D", "--eval_every_epochs=2")
    assert config.run.eval_every_epochs == 0


def test_environment_variables_mean_flags():
    environ = {
        "TF_ENABLE_AUTO_MIXED_PRECISION": "1",
        "TF_ENABLE_AUTO_MIXED_PRECISION_LOSS_SCALING": "0",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
        "NVIDIA_TF32_OVERRIDE": "0",
    }
    command = parse(TRAIN, environ)
    precision = command.config.precision
    assert (precision.amp, precision.loss_scaling, precision.xla, precision.tf32) == (True, False, True, False)
    assert command.notes == (
        "TF_ENABLE_AUTO_MIXED_PRECISION=1 means --amp",
        "TF_ENABLE_AUTO_MIXED_PRECISION_LOSS_SCALING=0: mixed precision runs without loss scaling",
        "--tf_xla_auto_jit=2 in TF_XLA_FLAGS means --xla",
        "NVIDIA_TF32_OVERRIDE=0 means --no_tf32",
    )
    assert config_of(*TRAIN, "--loss_scale=8", environ=environ).precision.static_loss_scale == 8


def test_a_flag_wins_over_a_variable_and_says_so():
    command = parse([*TRAIN, "--amp"], {"TF_ENABLE_AUTO_MIXED_PRECISION": "0"})
    assert command.config.precision.amp
    assert command.notes == ("--amp wins over TF_ENABLE_AUTO_MIXED_PRECISION=0",)
    with pytest.raises(UsageError, match=r"^TF_ENABLE_AUTO_MIXED_PRECISION=yes: must be 0, 1, true or false$"):
        parse(TRAIN, {"TF_ENABLE_AUTO_MIXED_PRECISION": "yes"})


def test_one_recipe_serves_all_modes_and_what_follows_it_wins(recipe):
    argument = recipe("--lr_init 0.256\n--cos\n--batch_size 128\n")
    command = parse([argument, "--mode=evaluate", "--data_dir=D", "--batch_size=7"], {})
    assert command.config.data.batch_size_per_replica == 7
    assert command.notes == ("--lr_init and --cosine_lr have no effect in --mode evaluate",)


def test_the_command_line_imports_no_tensorflow():
    modules = "utils.cmdline_helper, runtime.classification.resolve_classifier, runtime.environment"
    code = f"import sys, {modules}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_a_schedule_is_set_by_one_flag_and_every_network_may_have_any():
    assert config_of(*TRAIN, "--cosine_lr", "--schedule=cosine").optimizer.schedule == "cosine"
    assert config_of(*TRAIN, "--arch=ssd320", "--schedule=step").optimizer.schedule == "step"
    with pytest.raises(UsageError, match="--schedule linear: contradicts --cosine_lr; leave one of them out"):
        parse([*TRAIN, "--cosine_lr", "--schedule=linear"], {})


def test_one_cycle_warms_up_for_a_share_of_the_run_unless_told():
    cycle = config_of(*TRAIN, "--schedule=one_cycle").optimizer
    assert (cycle.warmup_epochs, cycle.warmup_share) == (None, 0.3)
    assert config_of(*TRAIN, "--schedule=one_cycle", "--lr_warmup_epochs=3").optimizer.warmup_epochs == 3


@pytest.mark.parametrize(
    "flag",
    [
        *("--no_bias_decay", "--zero_init_residual", "--loss=bce", "--focal_gamma=1", "--multi_label"),
        *("--class_weights=balanced", "--balanced_sampling", "--balanced_power=0.5"),
        *("--adaptive_clip", "--layer_decay=0.9", "--stochastic_depth=0.1", "--dropout=0.1", "--distill_from=T"),
    ],
)
def test_what_a_detector_does_anyway_or_cannot_do_is_refused(flag):
    with pytest.raises(UsageError, match=f"{flag.partition('=')[0]}: not used with --arch ssd320; leave the flag out"):
        parse([*TRAIN, "--arch=ssd320", flag], {})


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--task_aligned_after=0.5",),
            "--task_aligned_after 0.5: only used with --matcher task_aligned, which is not",
        ),
        (("--matcher=task_aligned", "--task_aligned_after=1"), "--task_aligned_after 1.0: must be a share of the run"),
        (("--distribution_loss_weight=1",), "--distribution_loss_weight 1: only used with --distribution_focal, which"),
        (
            ("--centerness_loss_weight=2",),
            "--centerness_loss_weight 2: only used with --centerness, which is not given",
        ),
        (
            ("--centerness", "--centerness_loss_weight=-1"),
            "--centerness_loss_weight -1.0: must be a number that is not",
        ),
        (("--matcher=task_aligned", "--accumulate_steps=2"), "--accumulate_steps 2: computes one part of a batch at a"),
    ],
)
def test_numbers_of_detectors_need_the_choice_that_they_belong_to(flags, message):
    with pytest.raises(UsageError, match=message):
        parse([*TRAIN, "--arch=ssd320", *flags], {})


def test_the_order_of_flags_of_a_detector_does_not_matter():
    flags = ("--centerness_loss_weight=2", "--centerness", "--task_aligned_after=0.5", "--matcher=task_aligned")
    one, other = (config_of(*TRAIN, "--arch=ssd320", *given).detection for given in (flags, flags[::-1]))
    assert one == other
    assert (one.heads.centerness, one.losses.centerness_weight, one.matcher.aligned_after) == (True, 2.0, 0.5)


def test_the_augmentation_of_detectors_has_flags_of_its_own():
    given = {"vertical_flip": True, "rotate90": True, "min_visible": 0.3, "scale_jitter": (0.1, 2.0)}
    given |= {"mosaic": 0.5, "copy_paste": 0.25}
    config = config_of(
        *(*TRAIN, "--arch=ssd320", "--vertical_flip", "--rotate90", "--min_visible=0.3", "--scale_jitter=0.1:2.0"),
        *("--mosaic=0.5", "--copy_paste=0.25", "--random_erasing=0.2"),
    )
    assert config.detection.augment == ObjectAugmentConfig(**given)
    assert config.data.augment.random_erasing == 0.2
    flags = to_flags(config)
    assert {name: flags[name] for name in given} == given | {"scale_jitter": "0.1:2"}
    plain = config_of(*TRAIN, "--arch=ssd320")
    assert plain.detection.augment == ObjectAugmentConfig()
    assert to_flags(plain)["scale_jitter"] is None


def test_several_labels_bring_their_loss_in_training_alone():
    config = config_of(*TRAIN, "--multi_label")
    assert (config.model.multi_label, config.optimizer.loss) == (True, "bce")
    with pytest.raises(UsageError, match="--loss softmax: contradicts --multi_label"):
        parse([*TRAIN, "--multi_label", "--loss=softmax"], {})
    with pytest.raises(UsageError, match="--balanced_sampling: draws by the one class of an image"):
        parse([*TRAIN, "--multi_label", "--balanced_sampling"], {})
    with pytest.raises(UsageError, match="--distill_from: a teacher's classes exclude each other"):
        parse([*TRAIN, "--multi_label", "--distill_from=T"], {})
    command = parse(["--mode=predict", "--to_predict=x", "--model_dir=M", "--multi_label"], {})
    assert command.notes == ("--multi_label has no effect in --mode predict",)
    assert command.config.optimizer.loss == "softmax"


@pytest.mark.parametrize("flag", ["--shuffle=index", "--repeated_augmentation=2"])
def test_two_orders_of_the_images_are_refused(flag):
    with pytest.raises(UsageError, match=f"{flag.partition('=')[0]} .*--balanced_sampling draws the order"):
        parse([*TRAIN, "--balanced_sampling", flag], {})
