"""The typed config: durations, and the values that each section rejects."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.specs import RESNETS, SSDS, QuantizationSpec
from utils.augment_config import AugmentConfig
from utils.config import (
    DiagnosticsConfig,
    DistributedConfig,
    Duration,
    ExperimentConfig,
    FineTuningConfig,
    ModelConfig,
    MovingAverageConfig,
    PrecisionConfig,
    RunConfig,
    check_benchmark_length,
    steps_of_text,
    text_of_steps,
)
from utils.data_config import DataConfig
from utils.distillation_config import DistillationConfig
from utils.errors import UsageError
from utils.optimizer_config import SCHEDULES, OptimizerConfig
from utils.optimizer_table import OPTIMIZERS

_epochs = Duration(value=90)
TRACED_STEPS = "must be FROM,TO: the first and the last step, counted from 1, at most 100 of them"


def test_ninety_epochs_of_imagenet_at_batch_256_are_450360_steps():
    assert _epochs.to_steps(1_281_167 // 256) == 450_360  # 5004 steps an epoch


@given(value=st.integers(1, 10**6), steps_per_epoch=st.integers(1, 10**6))
def test_batches_are_steps_and_epochs_are_whole_numbers_of_them(value, steps_per_epoch):
    assert Duration(value=value, unit="batch").to_steps(steps_per_epoch) == value
    steps = Duration(value=value, unit="epoch").to_steps(steps_per_epoch)
    assert divmod(steps, steps_per_epoch) == (value, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Duration(value=0), "--num_iter 0: must be a positive integer"),
        (lambda: Duration(value=-2, flag="run_iter"), "--run_iter -2: must be a positive integer"),
        (lambda: Duration(value=1, unit="step"), "--iter_unit step: must be epoch or batch"),
        (
            lambda: ModelConfig(architecture="vgg"),
            f"--arch vgg: must be one of {', '.join((*RESNETS, *SSDS))}",
        ),
        (lambda: ModelConfig(num_classes=0), "--num_classes 0: must be 1 to 1000000"),
        (lambda: ModelConfig(image_size=-1), "--image_size -1: must be 1 to 16384 pixels"),
        (lambda: ModelConfig(data_format="NCWH"), "--data_format NCWH: must be NHWC or NCHW"),
        (
            lambda: ModelConfig(quantization=QuantizationSpec(delay=-1)),
            "--quant_delay -1: must be 0 to 4611686018427387904 steps",
        ),
        (lambda: ModelConfig(head_init="zero"), "--head_init zero: must be small or original"),
        (lambda: ModelConfig(weight_init="he"), "--weight_init he: must be fan_in or fan_out"),
        (lambda: DataConfig(batch_size_per_replica=0), "--batch_size 0: must be a positive integer"),
        (lambda: DataConfig(min_crop_area=0.0), "--min_crop_area 0.0: must be above 0 and at most 1"),
        (lambda: DataConfig(min_crop_area=1.5), "--min_crop_area 1.5: must be above 0 and at most 1"),
        (lambda: AugmentConfig(auto_augment="auto"), "--auto_augment auto: must be one of none, trivial, rand"),
        (lambda: AugmentConfig(rand_ops=0), "--rand_ops 0: must be 1 to 10"),
        (lambda: AugmentConfig(repeated_augmentation=0), "--repeated_augmentation 0: must be 1 to 100"),
        (lambda: AugmentConfig(rand_magnitude=10.5), "--rand_magnitude 10.5: must be at least 0 and at most 10"),
        (lambda: AugmentConfig(rand_std=float("nan")), "--rand_std nan: must be at least 0 and at most 10"),
        (lambda: AugmentConfig(blur=-0.1), "--blur -0.1: must be a probability, at least 0 and at most 1"),
        (
            lambda: AugmentConfig(random_erasing=2.0),
            "--random_erasing 2.0: must be a probability, at least 0 and at most 1",
        ),
        (lambda: AugmentConfig(max_crop_area=0.0), "--max_crop_area 0.0: must be above 0 and at most 1"),
        (
            lambda: AugmentConfig(crop_aspect=0.75),
            "--crop_aspect 0.75: must be the ratio of the longer to the shorter side, at least 1 and at most 100",
        ),
        (lambda: AugmentConfig(crop_sampling="even"), "--crop_sampling even: must be one of tensorflow, uniform"),
        (
            lambda: DataConfig(augment=AugmentConfig(max_crop_area=0.05)),
            "--max_crop_area 0.05: must be at least --min_crop_area 0.08",
        ),
        (lambda: OptimizerConfig(cutmix_alpha=-1.0), "--cutmix -1.0: must be an alpha, at least 0 and at most 1e+30"),
        (lambda: DataConfig(color_jitter=1.5), "--color_jitter 1.5: must be at least 0 and at most 1"),
        (lambda: DataConfig(color_jitter=float("nan")), "--color_jitter nan: must be at least 0 and at most 1"),
        (
            lambda: DataConfig(source="dali", scaled_decoding=True),
            "--scaled_decoding: DALI decodes at full size only; leave out this flag or --dali",
        ),
        (lambda: DataConfig(max_bad_records=-1), "--max_bad_records -1: must be 0 or more"),
        (lambda: DataConfig(fold=1), "--fold 1: only used with --folds, which is not given"),
        (lambda: DataConfig(folds=5), "--folds 5: needs --fold, 0 to 4, the fold that is held out"),
        (lambda: DataConfig(folds=1, fold=0), "--folds 1: must be 2 or more"),
        (lambda: DataConfig(folds=5, fold=5), "--fold 5: must be 0 to 4, the fold that is held out"),
        (lambda: DataConfig(folds=5, fold=-1), "--fold -1: must be 0 to 4, the fold that is held out"),
        (
            lambda: DataConfig(source="synthetic", data_dir="d"),
            "--data_dir d: synthetic data is used only when no --data_dir is given",
        ),
        (lambda: OptimizerConfig(learning_rate_per_256=-0.1), "--lr_init -0.1: must be at least 0 and at most 1e+30"),
        (
            lambda: OptimizerConfig(warmup_epochs=float("inf")),
            "--lr_warmup_epochs inf: must be a number of epochs, at least 0 and at most 1e+30",
        ),
        (lambda: OptimizerConfig(name="lion"), f"--optimizer lion: must be one of {', '.join(OPTIMIZERS)}"),
        (
            lambda: OptimizerConfig(beta2=0.9),
            "--beta2 0.9: not used by --optimizer momentum, only by adam, adamw, lamb, rmsprop",
        ),
        (lambda: OptimizerConfig(name="adam", beta2=1.0), "--beta2 1.0: must be at least 0 and below 1"),
        (lambda: OptimizerConfig(name="lars", epsilon=0.0), "--epsilon 0: must be above 0 and at most 1e+30"),
        (lambda: OptimizerConfig(clip_norm=-1.0), "--clip_norm -1: must be above 0 and at most 1e+30"),
        (lambda: OptimizerConfig(accumulate_steps=0), "--accumulate_steps 0: must be a positive integer"),
        (
            lambda: ExperimentConfig(
                optimizer=OptimizerConfig(accumulate_steps=2), distributed=DistributedConfig(sync_batch_norm=True)
            ),
            "--accumulate_steps 2: batch norm takes its statistics from one part of the batch at a time, which "
            "--sync_batch_norm contradicts; leave one of them out",
        ),
        (lambda: OptimizerConfig(loss="hinge"), "--loss hinge: must be softmax, bce or focal"),
        (
            lambda: OptimizerConfig(loss="focal", focal_gamma=-1.0),
            "--focal_gamma -1: must be at least 0 and at most 100",
        ),
        (
            lambda: OptimizerConfig(focal_gamma=2.0),
            "--focal_gamma 2: only used with --loss focal, which is not given",
        ),
        (lambda: OptimizerConfig(class_weights=""), "--class_weights '': must be none, balanced or a file"),
        (
            lambda: DataConfig(balanced_sampling=True, balanced_power=1.5),
            "--balanced_power 1.5: must be at least 0 and at most 1",
        ),
        (
            lambda: DataConfig(balanced_power=0.5),
            "--balanced_power 0.5: only used with --balanced_sampling, which is not given",
        ),
        (
            lambda: OptimizerConfig(bce_target_threshold=0.2),
            "--bce_target_threshold 0.2: only used with --loss bce, which is not given",
        ),
        (
            lambda: OptimizerConfig(loss="bce", bce_target_threshold=1.0),
            "--bce_target_threshold 1: must be at least 0 and below 1",
        ),
        (
            lambda: MovingAverageConfig(ema_every=8),
            "--ema_every 8: only used with --ema_decay, which is not given",
        ),
        (
            lambda: MovingAverageConfig(ema_decay_steps=8),
            "--ema_decay_steps 8: only used with --ema_decay, which is not given",
        ),
        (
            lambda: MovingAverageConfig(ema_decay=0.9, ema_decay_steps=0),
            "--ema_decay_steps 0: must be a positive integer",
        ),
        (
            lambda: DistillationConfig(alpha=0.5),
            "--distill_alpha 0.5: only used with --distill_from, which is not given",
        ),
        (
            lambda: DistillationConfig(teacher="T", alpha=0.0),
            "--distill_alpha 0: must be above 0 and at most 1",
        ),
        (
            lambda: DistillationConfig(teacher="T", temperature=float("nan")),
            "--distill_temperature nan: must be above 0 and at most 1000",
        ),
        (lambda: FineTuningConfig(layer_decay=0.0), "--layer_decay 0: must be above 0 and at most 1"),
        (
            lambda: OptimizerConfig(stochastic_depth=1.0),
            "--stochastic_depth 1: must be a probability, at least 0 and below 1",
        ),
        (lambda: OptimizerConfig(dropout=-0.1), "--dropout -0.1: must be a probability, at least 0 and below 1"),
        (
            lambda: ExperimentConfig(
                optimizer=OptimizerConfig(stochastic_depth=0.1), fine_tuning=FineTuningConfig(freeze_backbone=True)
            ),
            "--stochastic_depth 0.1: drops branches of the backbone, which --freeze_backbone does not train; leave one "
            "of them out",
        ),
        (lambda: MovingAverageConfig(ema_decay=0.9, ema_every=0), "--ema_every 0: must be a positive integer"),
        (lambda: OptimizerConfig(schedule="sine"), f"--schedule sine: must be one of {', '.join(SCHEDULES)}"),
        (
            lambda: OptimizerConfig(schedule="linear", lr_final=0.2),
            "--lr_final 0.2: must be at least 0 and at most --lr_init, 0.1",
        ),
        (
            lambda: OptimizerConfig(lr_final=0.01),
            "--lr_final 0.01: not used by the step schedule, whose last rate follows from --lr_init; give --cosine_lr "
            "or another --schedule",
        ),
        (
            lambda: OptimizerConfig(lr_warmup_start=-0.01),
            "--lr_warmup_start -0.01: must be at least 0 and at most --lr_init, 0.1",
        ),
        (
            lambda: OptimizerConfig(lr_warmup_start=0.01, warmup_epochs=0.0),
            "--lr_warmup_start 0.01: needs --lr_warmup_epochs above 0",
        ),
        (lambda: OptimizerConfig(momentum=1.0), "--momentum 1.0: must be at least 0 and below 1"),
        (lambda: OptimizerConfig(weight_decay=-1e-4), "--weight_decay -0.0001: must be at least 0 and at most 1e+30"),
        (lambda: OptimizerConfig(label_smoothing=1.0), "--label_smoothing 1.0: must be at least 0 and below 1"),
        (
            lambda: OptimizerConfig(learning_rate_per_256=1e308),
            "--lr_init 1e+308: must be at least 0 and at most 1e+30",
        ),
        (lambda: ModelConfig(num_classes=10**13), "--num_classes 10000000000000: must be 1 to 1000000"),
        (lambda: RunConfig(log_filename=".."), "--log_filename ..: must be a file name"),
        (lambda: OptimizerConfig(mixup_alpha=-0.2), "--mixup -0.2: must be an alpha, at least 0 and at most 1e+30"),
        (
            lambda: PrecisionConfig(amp=True, static_loss_scale=0.0),
            "--static_loss_scale 0.0: must be positive, or -1 for dynamic",
        ),
        (
            lambda: PrecisionConfig(amp_dtype="bfloat16"),
            "--amp_dtype bfloat16: only used with --amp, which is not given",
        ),
        (
            lambda: PrecisionConfig(amp=True, amp_dtype="float32"),
            "--amp_dtype float32: must be auto, float16 or bfloat16",
        ),
        (
            lambda: PrecisionConfig(static_loss_scale=128.0),
            "--static_loss_scale 128: only used with --amp, which is not given",
        ),
        (lambda: RunConfig(display_every=0), "--display_every 0: must be a positive integer"),
        (lambda: RunConfig(checkpoint_every=0), "--checkpoint_every 0: must be a positive integer"),
        (lambda: RunConfig(keep_checkpoints=0), "--keep_checkpoints 0: must be a positive integer"),
        (lambda: RunConfig(top_k=0), "--top_k 0: must be a positive integer"),
        (lambda: RunConfig(warmup_steps=-1), "--warmup_steps -1: must be 0 or more"),
        (lambda: RunConfig(seed=2**31), "--seed 2147483648: must be at least 0 and below 2^31"),
        (lambda: RunConfig(gpu_id=-1), "--gpu_id -1: must be 0 or more"),
        (lambda: RunConfig(gpu_memory_fraction=0.0), "--gpu_memory_fraction 0.0: must be above 0 and at most 1"),
        (lambda: RunConfig(cpu=True, gpu_id=0), "--cpu: contradicts --gpu_id and --gpu_memory_fraction"),
        (lambda: RunConfig(log_filename="a/b.json"), "--log_filename a/b.json: must be a file name"),
        (lambda: RunConfig(log_level="loud"), "--log_level loud: must be one of debug, info, warning, error"),
        (lambda: RunConfig(mode="predict"), "--mode predict: needs --to_predict, an image, a folder or a glob"),
        (
            lambda: RunConfig(to_predict="a.jpg"),
            "--to_predict a.jpg: only used with --mode predict, not --mode train_and_evaluate",
        ),
        (
            lambda: RunConfig(mode="train", eval_every_epochs=2),
            "--eval_every_epochs 2: only used with --mode train_and_evaluate, not --mode train",
        ),
        (
            lambda: RunConfig(early_stop_patience=3),
            "--early_stop_patience 3: counts evaluations during training, so it needs --mode train_and_evaluate and "
            "--eval_every_epochs of at least 1",
        ),
        (
            lambda: ExperimentConfig(data=DataConfig(source="synthetic"), run=RunConfig(mode="evaluate")),
            "--mode evaluate: needs --data_dir; only the two benchmark modes can run on synthetic data",
        ),
        (
            lambda: check_benchmark_length(50, 50),
            "--num_iter gives 50 steps: must be above --warmup_steps 50, or nothing is measured",
        ),
    ],
)
def test_a_value_out_of_range_is_a_sentence_that_names_the_flag(make, message):
    with pytest.raises(UsageError) as error:
        make()
    assert str(error.value) == message


def test_a_benchmark_counted_in_epochs_is_checked_once_its_steps_are_known():
    run = RunConfig(mode="training_benchmark", duration=Duration(value=1), warmup_steps=50)
    ExperimentConfig(data=DataConfig(source="synthetic"), run=run)
    with pytest.raises(UsageError):
        ExperimentConfig(
            data=DataConfig(source="synthetic"),
            run=dataclasses.replace(run, duration=Duration(value=50, unit="batch")),
        )


def test_a_misspelt_field_is_an_error_and_nothing_can_be_changed_afterwards():
    with pytest.raises(TypeError):
        RunConfig(modes="train")
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().mode = "train"


def test_checkpoints_lie_in_the_results_folder_unless_a_model_folder_is_named():
    assert RunConfig(results_dir="r").checkpoint_dir == "r"
    assert RunConfig(results_dir="r", model_dir="m").checkpoint_dir == "m"


@pytest.mark.parametrize(("text", "steps"), [("3,4", (3, 4)), (" 7 , 7", (7, 7)), ("1,100", (1, 100))])
def test_two_steps_are_read_and_written(text, steps):
    assert steps_of_text(text) == steps
    assert steps_of_text(text_of_steps(steps)) == steps
    assert DiagnosticsConfig(profile=steps).profile == steps


@pytest.mark.parametrize("text", ["5", "", "5,", "a,b", "1,2,3", "-1,3", "1.5,2", "٣,٤"])
def test_what_is_not_two_numbers_is_refused(text):
    with pytest.raises(UsageError, match=TRACED_STEPS):
        steps_of_text(text)


@pytest.mark.parametrize("steps", [(9, 3), (0, 2), (1, 101)])
def test_steps_that_cannot_be_are_refused(steps):
    with pytest.raises(UsageError, match=f"--profile {steps[0]},{steps[1]}: {TRACED_STEPS}"):
        DiagnosticsConfig(profile=steps)


def test_histograms_come_never_or_every_so_many_steps():
    assert DiagnosticsConfig().histograms_every == 0
    with pytest.raises(UsageError, match="--histograms_every -1: must be 0 or more"):
        DiagnosticsConfig(histograms_every=-1)


def test_a_trace_must_begin_before_the_end():
    config = DiagnosticsConfig(profile=(5, 9))
    config.check_length(5)
    with pytest.raises(UsageError, match="--profile 5,9: begins after the end of the run, which has 4 batches"):
        config.check_length(4, "batches")
    DiagnosticsConfig().check_length(0)


def test_a_decay_for_a_longer_run_remembers_the_same_share_of_this_one():
    """torchvision's recipe for ImageNet: 0.99998, scaled by a batch of 1024 over 600 epochs, every 32 steps."""
    steps = 600 * (1_281_167 // 1024)
    recipe = MovingAverageConfig(ema_decay=1 - 2e-5 * 1024 / 600, ema_decay_steps=steps)
    assert recipe.decay_in(steps) == pytest.approx(recipe.ema_decay, abs=1e-12)
    for share in (2, 8, 1000):  # a larger batch or fewer epochs
        assert 1 - recipe.decay_in(steps // share) == pytest.approx(share * 2e-5 * 1024 / 600, rel=0.02)
    assert MovingAverageConfig(ema_decay=0.9).decay_in(7) == 0.9
    assert MovingAverageConfig().decay_in(7) is None
