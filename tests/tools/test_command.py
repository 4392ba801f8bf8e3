"""Commands end with a message and an exit status."""

import pytest

from tools.command import CommandParser, run_command
from utils.errors import RunError, UsageError


def raising(error):
    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (UsageError("--a 1: must be 2"), 2, "error: --a 1: must be 2\n"),
        (RunError("b: broken"), 1, "error: b: broken\n"),
        (FileNotFoundError(2, "No such file or directory", "c"), 1, "error: c: No such file or directory\n"),
        (
            FileNotFoundError(2, "No such file or directory", "c\n\a"),
            1,
            "error: c\\n\\x07: No such file or directory\n",
        ),
        (OSError("no number, no file"), 1, "error: no number, no file\n"),
        (KeyboardInterrupt(), 75, "interrupted: the rest is missing\n"),
    ],
)
def test_an_error_is_a_sentence_and_a_status(capsys, error, status, text):
    assert run_command(raising(error), interrupted="the rest is missing") == status
    assert capsys.readouterr().err == text


def test_without_an_error_the_status_is_the_commands_own(capsys):
    assert run_command(lambda: 3) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--outptu=x"], "unrecognized arguments: --outptu=x; did you mean --output?"),
        (["--output=x", "--last", "3", "--zzz"], "unrecognized arguments: --zzz"),
        (["--output=x", "--mode=trian"], "argument --mode: invalid choice: 'trian'"),
        (["--output=x", "a\nb"], r"unrecognized arguments: a\nb"),
        (["--out"], "argument --output: expected one argument"),
        ([], "the following arguments are required: --output"),
    ],
)
def test_a_mistyped_flag_or_choice_is_refused_with_the_nearest(capsys, arguments, message):
    parser = CommandParser(prog="tool")
    parser.add_argument("--output", required=True)
    parser.add_argument("--mode", choices=("train", "evaluate"))
    parser.add_argument_group("more").add_argument("--last", type=int)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(arguments)
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert f"tool: error: {message}" in error
    assert ("did you mean train?" in error) == ("--mode=trian" in arguments)
    assert parser.parse_args(["--output=x", "--la=3"]).last == 3


def test_what_nobody_expected_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(raising(ZeroDivisionError()))
