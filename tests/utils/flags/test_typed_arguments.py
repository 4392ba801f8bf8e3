"""Spellings and prefixes of flags: all earlier ones still work."""

import argparse

import pytest

from utils.cmdline_helper import build_parser, parse
from utils.errors import UsageError
from utils.flags.table import BY_NAME, FLAGS

TRAIN = ["--mode=train", "--batch_size=8", "--data_dir=D"]
FAMILIAR = (
    "arch mode batch_size num_iter run_iter iter_unit warmup_steps model_dir results_dir log_filename "
    "display_every seed gpu_memory_fraction gpu_id export_dir to_predict finetune_checkpoint use_final_conv "
    "quantize symmetric use_qdq quant_delay data_dir data_idx_dir dali synthetic_data_size lr_init "
    "lr_warmup_epochs weight_decay weight_init momentum label_smoothing mixup cosine_lr xla data_format amp "
    "cpu static_loss_scale use_static_loss_scaling"
)
ODD_ALIASES = ["use_cosine", "use_cosine_lr--cosine", "use_xla", "use_tf_amp", "loss_scale"]


def config_of(*arguments):
    return parse(arguments, {}).config


def original_parser():
    """A second implementation of prefixes: argparse with the option strings of the original program."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.error = lambda message: (_ for _ in ()).throw(ValueError(message))
    for name in (*FAMILIAR.split(), *ODD_ALIASES):
        full = next(flag.name for flag in FLAGS if name in flag.spellings)
        parser.add_argument(f"--{name}", dest=full, action="store_true")
    return parser


def test_every_prefix_that_the_original_took_still_means_the_same():
    original, ours = original_parser(), build_parser()
    options = [name for name in original._option_string_actions if name.startswith("--")]
    checked = 0
    for prefix in {option[:length] for option in options for length in range(3, len(option) + 1)}:
        try:
            (meant,) = [name for name, given in vars(original.parse_args([prefix])).items() if given]
        except (ValueError, SystemExit):
            continue  # ambiguous there, or --help
        if prefix == "--loss":
            continue  # a flag of its own now; was short for --loss_scale
        flag = BY_NAME[meant]
        value = [] if flag.is_switch else [flag.kind[0] if isinstance(flag.kind, tuple) else "1"]
        assert list(vars(ours.parse_args([prefix, *value]))) == [meant], prefix
        checked += 1
    assert checked > 200


@pytest.mark.parametrize(
    "spelling",
    ["--cosine_lr", "--cosine", "--use_cosine", "--use_cosine_lr", "--use_cosine_lr--cosine", "--cos", "--use_c"],
)
def test_all_spellings_of_the_cosine_schedule_work(spelling):
    assert config_of(*TRAIN, spelling).optimizer.schedule == "cosine"


def test_the_other_aliases_work_too():
    precision = config_of(*TRAIN, "--use_xla", "--use_tf_amp", "--loss_scale", "2.5").precision
    assert (precision.xla, precision.amp, precision.static_loss_scale) == (True, True, 2.5)


def test_a_value_may_look_like_a_flag_or_a_number_below_zero():
    assert config_of("--mode=predict", "--to_predict", "-x.jpg").run.to_predict == "-x.jpg"
    assert config_of("--mode=predict", "--to_predict=--x.jpg").run.to_predict == "--x.jpg"
    assert config_of("--mode=predict", "--to_predict=@x.jpg").run.to_predict == "@x.jpg"
    with pytest.raises(UsageError, match=r"^--lr_init -0\.001: must be at least 0 and at most 1e\+30$"):
        parse([*TRAIN, "--lr_init", "-1e-3"], {})
