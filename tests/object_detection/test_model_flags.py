"""Parsing of the flags of model_main."""

import pytest

from object_detection.model_flags import FLAGS, read_flags
from utils.errors import UsageError


def test_the_familiar_flags_are_all_there():
    familiar = """
        model_dir pipeline_config_path raport_file num_train_steps eval_training_data sample_1_of_n_eval_examples
        sample_1_of_n_eval_on_train_examples eval_count hparams_overrides checkpoint_dir allow_xla amp run_once
    """
    assert set(familiar.split()) | {"report_file", "skip_evaluation"} <= {flag.name for flag in FLAGS}


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["--model_dir=a"], {"model_dir": "a"}),
        (["--model_dir", "a"], {"model_dir": "a"}),
        (["-model_dir", "a"], {"model_dir": "a"}),
        (["-model_dir=a=b"], {"model_dir": "a=b"}),
        (["--model_dir="], {"model_dir": ""}),
        (["--model_dir=a", "--model_dir=b"], {"model_dir": "b"}),
        (["--eval_count", "3"], {"eval_count": 3}),
        (["--seed", "-1"], {"seed": -1}),
        (["--amp"], {"amp": True}),
        (["--noamp"], {"amp": False}),
        (["--no_tf32"], {"tf32": False}),
        (["-amp"], {"amp": True}),
        (["--amp=true"], {"amp": True}),
        (["--amp=False"], {"amp": False}),
        (["--amp=0", "--run_once"], {"amp": False, "run_once": True}),
        (["--alsologtostderr"], {"alsologtostderr": True}),
        (["--nologtostderr"], {"logtostderr": False}),
        ([], {}),
    ],
)
def test_flags_are_read_as_the_familiar_program_reads_them(arguments, given):
    assert read_flags(arguments) == given


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--modeldir=a"], "--modeldir: unknown flag; did you mean --model_dir?"),
        (["--xyz"], "--xyz: unknown flag; --help lists all flags"),
        (["--nomodel_dir"], "--nomodel_dir: unknown flag; did you mean --model_dir?"),
        (["model_dir"], "model_dir: belongs to no flag"),
        (["--", "a"], "--: belongs to no flag"),
        (["--amp", "true"], "true: belongs to no flag"),
        (["--amp=maybe"], "--amp maybe: must be true or false"),
        (["--noamp=true"], "--noamp=true: --noamp takes no value"),
        (["--model_dir"], "--model_dir: needs a value"),
        (["--model_dir", "--amp"], "--model_dir: needs a value"),
        (["--eval_count=many"], "--eval_count many: must be an integer"),
        (["--eval_count="], "--eval_count '': must be an integer"),
        (["--eval_count=1.5"], "--eval_count 1.5: must be an integer"),
    ],
)
def test_what_is_no_flag_or_no_value_is_refused(arguments, problem):
    with pytest.raises(UsageError) as caught:
        read_flags(arguments)
    assert str(caught.value) == problem


@pytest.mark.parametrize("spelling", ["--help", "-h", "-help", "--helpfull"])
def test_help_names_every_flag_in_plain_text(spelling, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        read_flags(["--model_dir=a", spelling])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(f"--{flag.name} " in text or f"--[no]{flag.name}" in text for flag in FLAGS)
    assert text.startswith("usage: python object_detection/model_main.py ")
    assert [line for line in text.splitlines() if "``" in line or len(line) > 80] == []
