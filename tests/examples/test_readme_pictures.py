"""examples/readme_pictures.sh: its commands parse, and it names missing parts before it trains anything."""

import os
import shlex

import pytest

from tests.launching import ROOT, run
from tools.convert.__main__ import make_parser as converter_parser
from tools.convert.coco_command import make_parser as coco_parser
from utils.cmdline_helper import parse

SCRIPT = "examples/readme_pictures.sh"


@pytest.fixture
def pictures(tmp_path):
    """Runs the script with sample data and a browser that do nothing, in an empty folder."""
    for folder in ("data/clothing", "data/bccd", "here"):
        (tmp_path / folder).mkdir(parents=True)

    def do(*arguments, **environment):
        given = {"SAMPLE_DATA": "../data", "BROWSER": "true", "DRY_RUN": "1", **environment}
        return run(SCRIPT, *arguments, cwd=tmp_path / "here", **given)

    return do


def commands(done):
    assert (done.returncode, done.stderr) == (0, "")
    return [shlex.split(line) for line in done.stdout.splitlines()]


def programs(done):
    """The interpreter's commands by their program or module: the words of each call."""
    calls = {}
    for words in commands(done):
        if words[0] == ".venv/bin/python":
            place = 2 if words[1] == "-m" else 1
            calls.setdefault(words[place], []).append(words[place + 1 :])
    return calls


def test_every_command_is_one_that_its_program_takes(pictures, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    calls = programs(pictures("my out", "my docs"))
    coco_parser().parse_args(calls["object_detection.create_coco_tfrecord"][0])
    converter_parser().parse_args(calls["tools.convert"][0])
    configs = [parse(words, {}).config for words in calls["main.py"]]
    assert [(c.run.mode, c.model.architecture) for c in configs] == [
        ("train_and_evaluate", "ssd320"),
        ("train_and_evaluate", "ssd320"),
        ("evaluate", None),
        ("train_and_evaluate", "resnet18"),
        ("predict", None),
    ]
    here = tmp_path / "here"
    assert calls["examples/make_pictures.py"] == [[f"{here}/my out", f"{tmp_path}/data", f"{here}/my docs"]]
    assert list(here.iterdir()) == []


def test_what_is_drawn_is_what_was_written(pictures):
    """The drawing's folders are the results of the commands before it."""
    text = (ROOT / "examples" / "make_pictures.py").read_text(encoding="utf-8")
    folders = {
        word.rpartition("/")[2]
        for words in programs(pictures("out"))["main.py"]
        for word in words
        if word.startswith("--results_dir=")
    }
    assert folders == {"cell_run_small", "cell_run", "cell_evaluation", "clothing_run", "clothing_predictions"}
    assert all(f'"{name}"' in text for name in folders if "_run" not in name)


def test_the_browser_renders_the_report_of_the_classifiers_run(pictures, tmp_path):
    (words,) = [words for words in commands(pictures("out")) if words[0].endswith("true")]
    assert words[-2:] == [
        f"--screenshot={tmp_path}/here/out/report.png",
        f"file://{tmp_path}/here/out/clothing_run/report.html",
    ]
    assert ("--no-sandbox" in words) == (os.getuid() == 0)


def test_a_browser_is_named_relative_to_the_current_folder(pictures, tmp_path):
    browser = tmp_path / "here" / "browser"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    assert [str(browser)] == [words[0] for words in commands(pictures(BROWSER="./browser")) if "--headless" in words]


def test_without_a_browser_the_report_is_left_out_on_demand(pictures):
    assert not [words for words in commands(pictures(BROWSER="none")) if "--headless" in words]


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        ([], {"BROWSER": "no-such-browser"}, "BROWSER=no-such-browser: there is no such program"),
        ([], {"BROWSER": "", "PATH": "{tools}"}, "No Chromium or Chrome on the PATH"),
        ([], {"SAMPLE_DATA": "/nowhere"}, "/nowhere/clothing: no such folder; SAMPLE_DATA names the one"),
        ([], {"DRY_RUN": "yes"}, "DRY_RUN=yes: must be 1, or not set"),
        (["out", "docs", "more"], {}, "more: not expected; usage: "),
        (["--out=x"], {}, "--out=x: not expected; usage: "),
    ],
    ids=["other browser", "no browser", "no data", "dry run", "third folder", "flag"],
)
def test_what_it_lacks_is_said_at_once(pictures, tmp_path, arguments, environment, sentence):
    tools = tmp_path / "tools"  # no browser among these
    tools.mkdir()
    for name in ("bash", "dirname", "realpath", "id"):
        (tools / name).symlink_to(next(p for p in ("/usr/bin/" + name, "/bin/" + name) if os.path.exists(p)))  # noqa: PTH110
    given = {name: value.format(tools=tools) for name, value in environment.items()}
    done = pictures(*arguments, **given)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_help_names_folders_and_variables(pictures):
    done = pictures("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("OUT", "DOCS", "SAMPLE_DATA", "BROWSER", "DRY_RUN"):
        assert word in done.stdout
