"""From the flags of model_main to the config of a run."""

from dataclasses import replace

import pytest

from object_detection.model_command import parse
from tests.object_detection.pipeline.pipelines import CONFIGS, experiment
from utils.cmdline_helper import parse as parse_main
from utils.config import DiagnosticsConfig, Duration, PrecisionConfig
from utils.errors import UsageError
from utils.learning_rate import make_schedule

CONFIG = f"--pipeline_config_path={CONFIGS / 'ssd320_full_1gpus.config'}"
TRAIN = ["--model_dir=M", CONFIG]
EVALUATE = [*TRAIN, "--checkpoint_dir=C"]


def config_of(*arguments, environ=None):
    return parse(arguments, environ or {}).config


def notes_of(*arguments, environ=None):
    return [note for note in parse(arguments, environ or {}).notes if note.startswith(("--", "TF_", "training"))]


def problem_of(*arguments, environ=None):
    with pytest.raises(UsageError) as caught:
        parse(arguments, environ or {})
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([CONFIG], "--model_dir: needed; --help lists all flags"),
        (["--model_dir=", CONFIG], "--model_dir: needed; --help lists all flags"),
        (["--model_dir=M"], "--pipeline_config_path: needed; --help lists all flags"),
        ([*TRAIN, "--num_train_steps=0"], "--num_train_steps 0: must be a positive integer"),
        ([*TRAIN, "--eval_count=-1"], "--eval_count -1: must be a positive integer"),
        ([*TRAIN, "--sample_1_of_n_eval_examples=0"], "--sample_1_of_n_eval_examples 0: must be a positive integer"),
        ([*TRAIN, "--seed=-1"], "--seed -1: must be at least 0 and below 2^31"),
        ([*TRAIN, "--data_format=NWHC"], "--data_format NWHC: must be NHWC or NCHW"),
        (
            [*TRAIN, "--eval_training_data"],
            "--eval_training_data: needs --checkpoint_dir, whose checkpoints it evaluates",
        ),
        (
            [*EVALUATE, "--skip_evaluation"],
            "--skip_evaluation: contradicts --checkpoint_dir, which asks for evaluation alone",
        ),
        (
            [*TRAIN, "--report_file=a", "--raport_file=b"],
            "--raport_file b: contradicts --report_file; both set the same value",
        ),
        (["--model_dir=M", "--pipeline_config_path=none"], "--pipeline_config_path none: No such file or directory"),
        ([*TRAIN, "--hparams_overrides=x=1"], "--hparams_overrides: x: no such field; TrainEvalPipelineConfig has"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_refused(arguments, problem):
    assert problem_of(*arguments).startswith(problem)


def test_a_variable_that_cannot_be_read_is_refused():
    problem = problem_of(*TRAIN, environ={"TF_ENABLE_AUTO_MIXED_PRECISION": "maybe"})
    assert problem == "TF_ENABLE_AUTO_MIXED_PRECISION=maybe: must be 0, 1, true or false"


def test_by_default_it_trains_as_the_config_says_and_evaluates_at_the_end():
    config = config_of(*TRAIN)
    run = config.run
    assert (run.mode, run.eval_count, run.watch_checkpoints) == ("train_and_evaluate", 1, False)
    assert (run.results_dir, run.checkpoint_dir, run.report_file) == ("M", "M", "summary.json")
    assert run.duration == Duration(value=100_000, unit="batch")
    assert (run.seed, run.deterministic) == (None, False)
    assert config.precision == PrecisionConfig()
    assert config.model.data_format == "NHWC"
    assert notes_of(*TRAIN) == []


def test_flags_change_the_run():
    run = config_of(*TRAIN, "--num_train_steps=40", "--eval_count=4", "--seed=7", "--deterministic").run
    assert (run.duration.value, run.eval_count, run.seed, run.deterministic) == (40, 4, 7, True)
    assert config_of(*TRAIN, "--skip_evaluation").run.mode == "train"
    assert config_of(*TRAIN, "--noskip_evaluation").run.mode == "train_and_evaluate"
    assert config_of(*TRAIN, "--data_format=NCHW").model.data_format == "NCHW"


@pytest.mark.parametrize("name", ["report_file", "raport_file"])
def test_the_report_has_two_names(name):
    assert config_of(*TRAIN, f"--{name}=out/r.json").run.report_file == "out/r.json"


def test_a_checkpoint_folder_asks_for_evaluation_alone():
    config = config_of(*EVALUATE, "--run_once")
    run = config.run
    assert (run.mode, run.watch_checkpoints) == ("evaluate", False)
    assert (run.checkpoint_dir, run.results_dir) == ("C", "M")
    assert run.finetune_checkpoint is None
    assert run.duration == Duration(value=1)
    assert (config.data.eval_split, config.data.eval_every) == ("validation", 1)


def test_without_run_once_it_follows_the_training_to_its_end():
    assert config_of(*EVALUATE).run == replace(config_of(*EVALUATE, "--run_once").run, watch_checkpoints=True)


def test_evaluation_may_leave_images_out():
    assert config_of(*EVALUATE, "--sample_1_of_n_eval_examples=3").data.eval_every == 3
    assert config_of(*TRAIN, "--sample_1_of_n_eval_examples=3").data.eval_every == 3
    on_train = config_of(*EVALUATE, "--eval_training_data").data
    assert (on_train.eval_split, on_train.eval_every) == ("train", 5)
    exact = config_of(*EVALUATE, "--eval_training_data", "--sample_1_of_n_eval_on_train_examples=1").data
    assert exact.eval_every == 1


def test_the_flag_wins_over_the_reader():
    reader = "--hparams_overrides=eval_input_reader[0].sample_1_of_n_examples=4"
    assert config_of(*TRAIN, reader).data.eval_every == 4
    assert config_of(*TRAIN, reader, "--sample_1_of_n_eval_examples=1").data.eval_every == 1


def test_precision_comes_from_flags_and_from_the_environment():
    assert config_of(*TRAIN, "--amp", "--allow_xla").precision == PrecisionConfig(amp=True, xla=True)
    variables = {"TF_ENABLE_AUTO_MIXED_PRECISION": "1", "TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}
    assert config_of(*TRAIN, environ=variables).precision == PrecisionConfig(amp=True, xla=True)
    assert notes_of(*TRAIN, environ=variables) == [
        "TF_ENABLE_AUTO_MIXED_PRECISION=1 means --amp",
        "--tf_xla_auto_jit=2 in TF_XLA_FLAGS means --xla",  # said as --allow_xla
    ]
    assert config_of(*TRAIN, environ={"NVIDIA_TF32_OVERRIDE": "0"}).precision.tf32 is False
    assert config_of(*TRAIN, "--no_tf32").precision == PrecisionConfig(tf32=False)


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        ([*TRAIN, "--run_once"], "--run_once has no effect without --checkpoint_dir"),
        ([*EVALUATE, "--eval_count=2"], "--eval_count has no effect with --checkpoint_dir"),
        ([*TRAIN, "--skip_evaluation", "--eval_count=2"], "--eval_count has no effect with --skip_evaluation"),
        ([*EVALUATE, "--num_train_steps=2"], "--num_train_steps has no effect with --checkpoint_dir"),
        (
            [*EVALUATE, "--eval_training_data", "--sample_1_of_n_eval_examples=2"],
            "--sample_1_of_n_eval_examples has no effect with --eval_training_data",
        ),
        (
            [*TRAIN, "--skip_evaluation", "--sample_1_of_n_eval_examples=2"],
            "--sample_1_of_n_eval_examples has no effect with --skip_evaluation",
        ),
        (
            [*EVALUATE, "--sample_1_of_n_eval_on_train_examples=2"],
            "--sample_1_of_n_eval_on_train_examples has no effect without --eval_training_data",
        ),
        ([*TRAIN, "--num_train_steps=200000"], "training ends at step 100000, not 200000: the learning rate is 0 from"),
    ],
)
def test_a_flag_without_effect_is_told_of(arguments, note):
    (only,) = (said for said in notes_of(*arguments) if "its own classes are used" not in said)
    assert only.startswith(note)


def test_the_command_of_the_documentation_means_what_it_says():
    config = config_of(
        "--model_dir=RUN2",
        CONFIG,
        "--num_train_steps=2",
        "--hparams_overrides=train_input_path=OUT/coco_train*,eval_input_path=OUT/coco_val*,"
        "label_map_path=OUT/label_map.pbtxt,num_classes=3,load_pretrained=false,batch_size=2",
    )
    assert config.data.train_files == ("OUT/coco_train*",)
    assert config.data.validation_files == ("OUT/coco_val*",)
    assert config.data.label_map_file == "OUT/label_map.pbtxt"
    assert (config.data.batch_size_per_replica, config.model.num_classes) == (2, 3)
    assert (config.run.duration.value, config.run.finetune_checkpoint) == (2, None)


BENCHMARK = ["--mode=inference_benchmark", CONFIG]


def test_the_network_can_be_timed():
    config = config_of(*BENCHMARK, "--checkpoint_dir=C", "--batch_size=8", "--num_iter=30", "--warmup_steps=10")
    run = config.run
    assert (run.mode, run.checkpoint_dir, run.results_dir, run.report_file) == (
        "inference_benchmark",
        "C",
        ".",
        "summary.json",
    )
    assert (run.duration, run.warmup_steps, run.percentiles) == (Duration(value=30, unit="batch"), 10, (90, 95, 99))
    assert (config.data.batch_size_per_replica, config.run.finetune_checkpoint) == (8, None)
    assert config_of(*BENCHMARK, "--percentiles=50, 99").run.percentiles == (50, 99)
    assert config_of(*BENCHMARK).run.duration.value == 400


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--mode=train"], "--mode train: must be inference_benchmark"),
        (["--percentiles=0"], "--percentiles 0: must be integers from 1 to 100, with commas between them"),
        (["--percentiles=a"], "--percentiles a: must be integers from 1 to 100"),
        (["--num_iter=0"], "--num_iter 0: must be a positive integer"),
        (["--num_iter=100"], "--num_iter gives 100 steps: must be above --warmup_steps 100"),
        (["--warmup_steps=-1"], "--warmup_steps -1: must be 0 or more"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused(arguments, problem):
    assert problem_of(*BENCHMARK, *arguments).startswith(problem)


def test_flags_of_benchmark_and_training_do_not_mix_in_silence():
    assert notes_of(*TRAIN, "--num_iter=3") == ["--num_iter has no effect without --mode=inference_benchmark"]
    assert notes_of(*TRAIN, "--warmup_steps=0") == ["--warmup_steps has no effect without --mode=inference_benchmark"]
    assert notes_of(*TRAIN, "--norun_once") == []
    assert notes_of(*BENCHMARK, "--run_once", "--eval_count=2") == [
        "--eval_count has no effect with --mode=inference_benchmark",
        "--run_once has no effect with --mode=inference_benchmark",
    ]


def test_the_batch_size_has_a_flag_of_its_own():
    assert config_of(*TRAIN, "--hparams_overrides=batch_size=4", "--batch_size=2").data.batch_size_per_replica == 2
    both = "--hparams_overrides=eval_config.batch_size=4"
    assert config_of(*EVALUATE, both, "--batch_size=2").data.batch_size_per_replica == 2
    assert notes_of(*TRAIN, "--batch_size=2") == []


def test_both_programs_lead_to_the_same_experiment():
    """Compares the configs, apart from the fields that main.py resolves only later."""
    flags = "--arch=ssd320 --batch_size=32 --data_dir=D --num_iter=12500 --iter_unit=batch --no_color_jitter"
    ours = parse_main(flags.split(), {}).config
    theirs = experiment("load_pretrained=false")[0]
    assert (ours.detection, ours.precision, ours.run) == (theirs.detection, theirs.precision, theirs.run)
    assert (ours.optimizer.momentum, ours.optimizer.weight_decay) == (
        theirs.optimizer.momentum,
        theirs.optimizer.weight_decay,
    )
    length = {"global_batch": 256, "steps_per_epoch": 462, "total_steps": 12_500}
    assert make_schedule(ours.optimizer, **length) == make_schedule(theirs.optimizer, **length)
    found = replace(theirs.model, num_classes=None, image_size=None, backbone=None)
    assert ours.model == found
    read = replace(theirs.data, train_files=(), validation_files=(), label_map_file=None, data_dir="D")
    assert ours.data == read


def test_color_jitter_is_the_default_of_one_door_and_a_config_of_the_other():
    ours = parse_main(["--arch=ssd320", "--batch_size=32", "--data_dir=D"], {}).config
    assert ours.detection == experiment(name="ssd320_full_8gpus_jitter")[0].detection


def test_histograms_and_a_trace_can_be_asked_for():
    assert config_of(*TRAIN).diagnostics == DiagnosticsConfig()
    config = config_of(*TRAIN, "--histograms_every=50", "--profile=3,4")
    assert config.diagnostics == DiagnosticsConfig(histograms_every=50, profile=(3, 4))
    assert config_of(*EVALUATE, "--profile=3,4").diagnostics.profile == (3, 4)
    assert "--histograms_every has no effect with --checkpoint_dir" in notes_of(*EVALUATE, "--histograms_every=5")
    assert problem_of(*TRAIN, "--profile=9,3").startswith("--profile 9,3: must be FROM,TO")
