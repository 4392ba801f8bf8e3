"""Sweeps of a program that stands in for main.py: their results, restarts, failures and refusals."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.utils.records.test_folds import write_labels
from tests.utils.reporting.made_runs import comparison, write_boxes, write_classes, write_log
from tools.sweep import launches
from tools.sweep.__main__ import main
from utils.files.packed_arrays import packed
from utils.records.folds import folds_of
from utils.reporting.evaluation_file import EVALUATION_NAME
from utils.statistics.intervals import wilson
from utils.statistics.paired import holm, mcnemar

LABELS = [1 + index % 3 for index in range(60)]
SETTINGS = ("01-optimizer-momentum", "02-optimizer-adamw")
STAND_IN = ROOT / "tests" / "tools" / "sweep" / "stand_in.py"
RNG = np.random.default_rng(7)
RIGHT = {SETTINGS[0]: RNG.random(60) < 0.85, SETTINGS[1]: RNG.random(60) < 0.4}


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    return write_labels(tmp_path / "data", LABELS)


@pytest.fixture
def prepared(tmp_path, data, monkeypatch):
    """The results of every fold: the images of momentum and of adamw that are right are those of RIGHT."""
    _, assigned = folds_of(data, 3, 1)
    for setting in SETTINGS:
        for fold in range(3):
            held_out = [index for index in range(60) if assigned[index] == fold]
            write_answers(tmp_path / "prepared" / setting / f"seed-1-fold-{fold}", held_out, RIGHT[setting])
    monkeypatch.setenv("STAND_IN", str(tmp_path / "prepared"))
    monkeypatch.setattr(launches, "_MAIN", STAND_IN)
    return tmp_path / "prepared"


def write_answers(folder, images, right):
    write_log(folder)
    content = write_classes(folder, 3, len(images))
    labels = np.array(LABELS)[images] - 1
    answers = np.where(right[images], labels, (labels + 1) % 3)
    content["per_image"] = packed({"index": np.array(images), "label": labels, "answer": answers})
    (folder / EVALUATION_NAME).write_text(json.dumps({**content, "format": 1, "split": "records"}))


def arguments(tmp_path, *more, grid="optimizer=momentum,adamw", folds=3, flags=()):
    own = [f"--folds={folds}", f"--output={tmp_path / 'sweep'}", *([f"--grid={grid}"] if grid else []), *more]
    return [*own, "--", "--arch=resnet18", f"--data_dir={tmp_path / 'data'}", "--batch_size=4", *flags]


def started(prepared):
    return [line.split()[0] for line in (prepared / "started").read_text().splitlines()]


def order(prepared, *lines):
    (prepared / "do").write_text("\n".join(lines))


def results(tmp_path):
    return json.loads((tmp_path / "sweep" / "results.json").read_text())


def test_a_sweep_pools_the_folds_and_tests_the_settings_on_the_same_images(tmp_path, prepared, capsys):
    assert main(arguments(tmp_path)) == 0
    cells = [f"{setting}/seed-1-fold-{fold}" for fold in range(3) for setting in SETTINGS]
    assert started(prepared) == cells
    command = (prepared / "started").read_text().splitlines()[3].split()[1:]
    assert {"--optimizer=adamw", "--folds=3", "--fold=1", "--seed=1", "--mode=train_and_evaluate"} <= {*command}
    found = results(tmp_path)
    assert [one["name"] for one in found["settings"]] == ["optimizer=momentum", "optimizer=adamw"]
    for one, setting in zip(found["settings"], SETTINGS, strict=True):
        hits = int(RIGHT[setting].sum())
        assert one["value"] == pytest.approx(hits / 60)
        assert one["interval"] == pytest.approx(wilson(hits, 60))
        assert (one["images"], one["launches"]) == (60, {"done": 3, "all": 3})
        assert one["processor_seconds"] > 0
    first, second = (RIGHT[setting] for setting in SETTINGS)
    (test,) = found["tests"]
    assert test["p"] == mcnemar(int((first & ~second).sum()), int((~first & second).sum()))[0]
    assert test["tells"] is True
    said = capsys.readouterr()
    assert re.search(r"optimizer=momentum +60 +0\.\d{4} +0\.\d{4} to 0\.\d{4} +\d+\.\d +3 of 3\n", said.out)
    assert "optimizer=momentum and optimizer=adamw, 60 images: top-1 accuracy" in said.out
    page = (tmp_path / "sweep" / "sweep.html").read_text()
    for text in ("is larger than chance would make it", "--optimizer=adamw", "Each launch", "processor s"):
        assert text in page


def test_checkpoints_go_once_the_result_is_stored_unless_they_are_wanted(tmp_path, prepared):
    folder = tmp_path / "sweep" / SETTINGS[0] / "seed-1-fold-0"
    assert main(arguments(tmp_path, "--keep_checkpoints")) == 0
    assert (folder / "best" / "model.ckpt-5.index").is_file()
    assert main(arguments(tmp_path)) == 0
    names = {path.name for path in folder.iterdir()}
    assert {EVALUATION_NAME, "log.json", "result.json"} <= names
    assert not {"best", "checkpoint", "model.ckpt-5.index"} & names


def test_a_finished_launch_does_not_run_again_and_a_failed_one_does(tmp_path, prepared, capsys):
    order(prepared, f"{SETTINGS[1]}/seed-1-fold-1 fail")
    assert main(arguments(tmp_path)) == 3
    said = capsys.readouterr()
    assert "optimizer=adamw, seed 1, fold 1: failed. CRITICAL: it cannot be\\x07done\n" in said.err
    assert "the tests use the 2 of 3 seeds and folds of which every setting has one" in said.err
    found = results(tmp_path)
    assert [one["images"] for one in found["settings"]] == [60, 40]
    assert found["tests"][0]["images"] == 40
    assert main(arguments(tmp_path)) == 0
    assert started(prepared).count(f"{SETTINGS[1]}/seed-1-fold-1") == 2
    assert len(started(prepared)) == 7
    assert results(tmp_path)["tests"][0]["images"] == 60


def test_a_killed_launch_is_run_again_but_not_for_ever(tmp_path, prepared):
    first, second = f"{SETTINGS[0]}/seed-1-fold-0", f"{SETTINGS[0]}/seed-1-fold-1"
    order(prepared, f"{first} kill", f"{first} kill", *([f"{second} kill"] * 3))
    assert main(arguments(tmp_path, grid="optimizer=momentum")) == 3
    stored = [json.loads((tmp_path / "sweep" / cell / "result.json").read_text()) for cell in (first, second)]
    assert [(one["state"], one["attempts"]) for one in stored] == [("done", 3), ("failed", 3)]
    assert stored[1]["reason"] == "it was ended by SIGKILL 3 times"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_sweep_ends_its_launch_and_the_same_command_continues(tmp_path, prepared, number):
    order(prepared, f"{SETTINGS[0]}/seed-1-fold-1 wait")
    code = f"import sys; import tools.sweep.launches as l; l._MAIN = {str(STAND_IN)!r}; "
    code += "import tools.sweep.__main__ as m; sys.exit(m.main(sys.argv[1:]))"
    words = arguments(tmp_path, grid="optimizer=momentum")
    with subprocess.Popen([sys.executable, "-c", code, *words], cwd=ROOT, stderr=subprocess.PIPE, text=True) as sweep:
        end = time.monotonic() + 30
        while not (prepared / "waiting").exists() and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(sweep.pid, number)
        _, err = sweep.communicate(timeout=30)
    assert sweep.returncode == (75 if number == signal.SIGTERM else -signal.SIGKILL)
    assert ("finished launches are kept, and the same command continues" in err) is (number == signal.SIGTERM)
    assert main(words) == 0
    assert started(prepared) == [f"{SETTINGS[0]}/seed-1-fold-{fold}" for fold in (0, 1, 1, 2)]


def test_a_sweep_under_nohup_outlives_its_terminal():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with launches.requests_to_end() as requests:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
        assert requests.count == 1
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


def test_several_seeds_are_averaged_and_tested_by_resampling_images(tmp_path, prepared):
    spread = {1: 0.0, 2: 0.1}
    rights = {}
    for setting in SETTINGS:
        for seed in (1, 2):
            _, assigned = folds_of(tmp_path / "data", 3, seed)
            rights[setting, seed] = RIGHT[setting] & (np.arange(60) >= 60 * spread[seed])
            for fold in range(3):
                held_out = [index for index in range(60) if assigned[index] == fold]
                write_answers(prepared / setting / f"seed-{seed}-fold-{fold}", held_out, rights[setting, seed])
    assert main(arguments(tmp_path, "--seeds=2")) == 0
    found = results(tmp_path)
    for one, setting in zip(found["settings"], SETTINGS, strict=True):
        shares = [float(rights[setting, seed].mean()) for seed in (1, 2)]
        assert one["by_seed"] == {"1": pytest.approx(shares[0]), "2": pytest.approx(shares[1])}
        assert one["value"] == pytest.approx(np.mean(shares))
        assert one["interval"] == pytest.approx(wilson(np.mean(shares) * 60, 60))
        assert one["spread_over_seeds"] == pytest.approx(np.std(shares, ddof=1))
    assert found["tests"][0]["test"].startswith("paired bootstrap")
    assert "spread over seeds" in (tmp_path / "sweep" / "sweep.html").read_text()


def test_detectors_are_compared_by_their_average_precision(tmp_path, prepared, monkeypatch):
    monkeypatch.setattr("tools.sweep.plan.load_split", lambda *_: None)
    for number, name in enumerate(("01-lr_init-0.1", "02-lr_init-0.2")):
        for seed in (1, 2):
            folder = prepared / name.replace("_", "-") / f"seed-{seed}"
            write_log(folder)
            write_boxes(folder, comparison(seed=10 * number + seed))
    words = [f"--output={tmp_path / 'sweep'}", "--seeds=2", "--grid=lr_init=0.1,0.2", "--", "--arch=ssd320"]
    assert main([*words, f"--data_dir={tmp_path}", "--batch_size=4"]) == 0
    found = results(tmp_path)
    assert found["metric"] == "average precision"
    assert all(0 < one["interval"][0] < one["value"] < one["interval"][1] < 1 for one in found["settings"])


def test_grids_multiply_and_settings_have_names(tmp_path, prepared, capsys):
    (tmp_path / "small.args").write_text("--lr_init=0.2\n--mixup=0.1\n--mode=train_and_evaluate\n--seed=9\n")
    settings = [f"--setting=small=@{tmp_path / 'small.args'}", "--setting=two words=--lr_init 0.1 --cosine_lr"]
    more = ["--grid=optimizer=momentum,adamw", "--grid=no_bias_decay=on,off"]
    for number in range(8):
        name = ("small", "two-words")[number // 4]
        optimizer, switch = ("momentum", "adamw")[number // 2 % 2], ("on", "off")[number % 2]
        slug = f"{number + 1:02d}-{name}-optimizer-{optimizer}-no-bias-decay-{switch}"[:43]
        for fold in range(3):
            source = prepared / SETTINGS[number % 2] / f"seed-1-fold-{fold}"
            (prepared / slug).mkdir(exist_ok=True)
            (prepared / slug / source.name).symlink_to(source)
    assert main(arguments(tmp_path, *settings, *more, grid="")) == 0
    assert "small.args, line 4: --seed=9: not used, it belongs to the sweep, --seeds sets it" in capsys.readouterr().err
    plan = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert plan["settings"][1] == {
        "name": "small, optimizer=momentum, no_bias_decay=off",
        "flags": ["--lr_init=0.2", "--mixup=0.1", "--optimizer=momentum"],
    }
    assert plan["settings"][6]["flags"] == ["--lr_init=0.1", "--cosine_lr", "--optimizer=adamw", "--no_bias_decay"]
    tests = results(tmp_path)["tests"]
    assert len(tests) == 7, "of many settings, the best against each of the others"
    assert [test["corrected"] for test in tests] == holm([test["p"] for test in tests])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--grid=optimizr=adamw"], "--grid optimizr=adamw: --optimizr: unknown flag; did you mean --optimizer?"),
        (["--grid="], "--grid '': must be FLAG=VALUE,VALUE, as in optimizer=momentum,adamw"),
        (["--grid=optimizer="], "--grid optimizer=: has an empty value; must be values with commas between them"),
        (["--grid=optimizer=adamw,adamw"], "--grid optimizer=adamw,adamw: optimizer=adamw comes 2 times; must differ"),
        (["--grid=optimizer=adamz"], "optimizer=adamz: --optimizer adamz: must be one of momentum"),
        (["--grid=cosine_lr=yes"], "--grid cosine_lr=yes: --cosine_lr is a switch; its values must be on or off"),
        (["--grid=fold=1,2"], "--grid fold=1,2: --fold belongs to the sweep, each launch has its own; leave it out"),
        (["--setting=--lr_init=1"], "--setting --lr_init=1: must be NAME='FLAGS', as in small='@recipes/small.args'"),
        (["--setting=a=--seed=3"], "--setting a: --seed=3: belongs to the sweep, --seeds sets it; leave it out"),
        (["--setting=a=@no.args"], "--setting a: @no.args: there is no recipe file no.args"),
        (["--setting=a=--mixup=0.1", "--setting=a=--mixup=0.2"], "--setting: a comes 2 times; must differ"),
        (["--seeds=0"], "--seeds 0: must be 1 or more"),
        (["--folds=1"], "--folds 1: must be 2 or more"),
        (["--folds=21"], "--folds 21: class cat has 20 training images; must be at most the number of images of the"),
        (["--grid=arch=ssd320"], "arch=ssd320: --folds: not used with --arch ssd320; leave the flag out"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_before_anything_runs(tmp_path, prepared, capsys, words, message):
    assert main(arguments(tmp_path, *words, grid="")) == 2
    assert message in capsys.readouterr().err
    assert not (prepared / "started").exists()
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=evaluate"], "--mode=evaluate: belongs to the sweep, it is train_and_evaluate; leave it out"),
        (["--results_dir=RUN"], "--results_dir=RUN: belongs to the sweep, each launch has its own in --output; leave"),
        (["--help"], "flags of main.py: ask for help; see main.py --help"),
        (["--no_bias_decay"], "--grid no_bias_decay=on,off: the flags of all launches have --no_bias_decay; leave it"),
    ],
)
def test_flags_of_all_launches_that_the_sweep_sets_are_refused(tmp_path, prepared, capsys, flags, message):
    assert main(arguments(tmp_path, grid="no_bias_decay=on,off", flags=flags)) == 2
    assert message in capsys.readouterr().err


def test_the_folder_of_another_sweep_is_refused_and_kept(tmp_path, prepared, capsys):
    assert main(arguments(tmp_path, grid="optimizer=momentum")) == 0
    before = sorted((tmp_path / "sweep").rglob("*"))
    assert main(arguments(tmp_path)) == 2
    assert "holds another sweep (sweep.json has its folds, seeds, grid and flags); repeat" in capsys.readouterr().err
    assert sorted((tmp_path / "sweep").rglob("*")) == before
    assert main([*arguments(tmp_path)[:1], f"--output={tmp_path / 'data'}", *arguments(tmp_path)[2:]]) == 2
    assert "is not empty and holds no sweep; name another folder" in capsys.readouterr().err


def test_a_sweep_whose_launches_all_fail_says_why(tmp_path, prepared, capsys):
    order(prepared, *(f"{SETTINGS[0]}/seed-1-fold-{fold} fail" for fold in range(3)))
    assert main(arguments(tmp_path, grid="optimizer=momentum")) == 1
    assert "error: every launch failed; the first: CRITICAL: it cannot be\\x07done" in capsys.readouterr().err
