"""The pages of --help: the modes with an example each, or the flags of one mode, the rare ones last."""

import re
import shlex

import pytest

from utils.cmdline_helper import parse
from utils.config import MODES
from utils.errors import UsageError
from utils.flags.help import MODE_HELP, NEEDED, RARE, overview
from utils.flags.table import FLAGS, GROUPS


def page(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        parse(arguments, {})
    assert end.value.code == 0
    return capsys.readouterr().out


def flags_on(text):
    return re.findall(r"^  --(\w+)", text, flags=re.MULTILINE)


def examples(text):
    commands = re.findall(r"^ +python main\.py (--mode=(?:.+\\\n)*.+)$", text, flags=re.MULTILINE)
    return [shlex.split(command.replace("\\\n", " ")) for command in commands]


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--he"], ["--amp", "--help", "--nonsense"]])
def test_the_first_page_has_each_mode_with_its_example(capsys, arguments):
    text = page(capsys, *arguments)
    assert text == overview()
    assert re.findall(r"^  (\w+): [A-Z]", text, flags=re.MULTILINE) == list(MODES)
    assert [words[0] for words in examples(text)] == [f"--mode={mode}" for mode in MODES]
    assert max(map(len, text.splitlines())) < 80
    assert len(text.splitlines()) <= 48


@pytest.mark.parametrize("mode", MODES)
def test_an_example_is_a_command_without_a_flag_too_many(mode, capsys):
    (words,) = examples(page(capsys, "--help", mode))
    command = parse(words, {})
    assert command.config.run.mode == mode
    assert command.notes == ()


@pytest.mark.parametrize("mode", MODES)
def test_the_page_of_a_mode_has_its_flags_alone_the_rare_ones_last(mode, capsys):
    text = page(capsys, "--help", mode)
    elsewhere = {"mode"} if mode == "predict" else {"mode", "to_predict"}
    shown = flags_on(text)
    assert set(shown) == {flag.name for flag in FLAGS if mode in flag.modes and not flag.hidden} - elsewhere
    assert len(shown) == len(set(shown))
    rare = {flag.name for flag in FLAGS if flag.rare} & set(shown)
    assert set(shown[-len(rare) :]) == rare
    titles = re.findall(r"^(\w.*):$", text, flags=re.MULTILINE)
    assert (titles[0], titles[-1]) == (NEEDED, RARE)
    assert set(titles[2:-1]) <= set(GROUPS)


@pytest.mark.parametrize("mode", MODES)
def test_what_a_mode_needs_is_needed(mode):
    words = [f"--mode={mode}", *shlex.split(MODE_HELP[mode].example)]
    for name in MODE_HELP[mode].needs:
        with pytest.raises(UsageError, match=f"--{name}"):
            parse([word for word in words if not word.startswith(f"--{name}=")], {})


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help=evaluate"],
        ["-h", "evaluate"],
        ["--mode=evaluate", "--help"],
        ["--mode", "evaluate", "--amp", "-h"],
        ["--help", "--mode=evaluate"],
        ["--mode=train", "--help", "evaluate"],
        ["--mode=train", "--mode=evaluate", "--help"],
    ],
)
def test_a_mode_can_be_asked_for_in_several_ways(capsys, arguments):
    assert page(capsys, *arguments) == page(capsys, "--help", "evaluate")


def test_the_mode_of_a_recipe_counts(capsys, recipe):
    assert page(capsys, recipe("--mode predict\n"), "--help") == page(capsys, "--help", "predict")


def test_a_network_leaves_out_the_flags_of_others(capsys):
    detector, classifier = (flags_on(page(capsys, "--help", "train", f"--arch={a}")) for a in ("ssd320", "resnet18"))
    assert "train_crowds" in detector
    assert "mixup" not in detector
    assert "mixup" in classifier
    assert "train_crowds" not in classifier


def test_all_flags_can_be_asked_for_with_their_defaults(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = page(capsys, "--help", "all")
    assert set(flags_on(text)) == {flag.name for flag in FLAGS if not flag.hidden}
    for lines in re.split(r"^  --", text, flags=re.MULTILINE)[1:]:
        entry = " ".join(lines.split())
        assert "(default: " in entry or "default elsewhere: " in entry, entry


@pytest.mark.parametrize("mode", MODES)
def test_the_page_of_a_mode_mentions_no_default_of_another(mode, capsys):
    text = " ".join(page(capsys, "--help", mode).split())
    needed, others = text.split("General arguments:")
    assert needed.count("(required)") == len(MODE_HELP[mode].needs)
    assert "(required" not in others
    assert not re.search(r"\(default: [^)]*--mode", text)
    assert ("(default: 32)" in text) == (mode == "predict")
    assert ("(default: synthetic images)" in text) == mode.endswith("benchmark")


@pytest.mark.parametrize("mode", MODES)
def test_a_page_is_plain_text_whose_lines_break_between_words(mode, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = page(capsys, "--help", mode).splitlines()
    assert [line for line in lines if "``" in line or len(line) > 80 or re.search(r"\w-$", line)] == []


def test_a_sentence_about_a_flag_says_what_it_is_or_does():
    assert [flag.name for flag in FLAGS if re.match(r"(What|Which|How|Whether|Where|Of|That)\b", flag.help)] == []
    assert [flag.name for flag in FLAGS if not flag.help.endswith(".")] == []


@pytest.mark.parametrize("arguments", [["--help", "trian"], ["--help=trian"], ["--mode=trian", "--help"]])
def test_an_unknown_mode_is_refused_with_the_nearest(arguments):
    modes = ", ".join(MODES)
    with pytest.raises(UsageError) as refused:
        parse(arguments, {})
    assert str(refused.value) == f"--help trian: must be one of {modes}, all; did you mean train?"
