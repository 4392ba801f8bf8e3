"""The table of the fastest convolutions: measured, stored, and refused if it is damaged or foreign."""

import dataclasses
import json
import re
from collections.abc import Iterator

import pytest

from model.layers.choices import Choice, Signature
from model.layers.formulations import fault_of
from model.specs import ChosenConvolution
from runtime.training.convolutions import Convolutions, choose_convolutions, kind_of_cpu, notes_on_use
from tests.runtime.runs import tiny_networks
from tools.measure import convolutions
from tools.measure.convolution_speed import compare, fastest
from utils.cmdline_helper import parse
from utils.convolution_table import Machine, Table, add_to_table, read_table, this_machine
from utils.errors import RunError
from utils.files.user_cache import user_cache

MACHINE = Machine(processor="A CPU (avx2)", tensorflow="2.21.0", threads=2, layout="NHWC", dtype="float32")
POINTWISE = "4 x 9 x 9 x 8, 1 x 1 to 8, stride 1, groups 1, SAME, float32"
SPATIAL = "4 x 9 x 9 x 8, 3 x 3 to 8, stride 1, groups 1, SAME, float32"
NATIVE, MATRIX = Choice().names, ("matrix",) * 3


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.convolution_table.user_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "convolutions"


def table(**choices):
    names = {"pointwise": POINTWISE, "spatial": SPATIAL}
    choices = {names[name]: value for name, value in choices.items()}
    return Table(measured="2026-11-30", choices=choices, times={key: {"forward": {"native": 1.0}} for key in choices})


def stored(machine=MACHINE):
    return read_table(machine, fault_of)


def test_several_networks_add_to_one_table():
    assert stored() is None
    add_to_table(MACHINE, table(pointwise=MATRIX, spatial=NATIVE), fault_of)
    add_to_table(MACHINE, dataclasses.replace(table(spatial=("patches", *NATIVE[1:])), measured="2026-12-01"), fault_of)
    found = stored()
    assert found.choices == {POINTWISE: MATRIX, SPATIAL: ("patches", "native", "native")}
    assert found.measured == "2026-12-01"
    assert found.times[POINTWISE] == {"forward": {"native": 1.0}}


@pytest.mark.parametrize(
    "change", [{"processor": "B"}, {"tensorflow": "2.22.0"}, {"threads": 4}, {"dtype": "bfloat16"}, {"layout": "NCHW"}]
)
def test_another_machine_has_a_table_of_its_own(change):
    add_to_table(MACHINE, table(pointwise=MATRIX), fault_of)
    assert stored(dataclasses.replace(MACHINE, **change)) is None


def damaged(content, *path, value):
    """The content with another value at a path of keys."""
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: json.dumps(content)[:-9], "is not valid JSON"),
        (lambda content: "[]", "it holds no JSON object"),
        (lambda content: damaged(content, "schema", value=2), '"schema" is 2, and must be 1'),
        (lambda content: damaged(content, "machine", "processor", value="B"), "\"processor\" is 'B', and this machine"),
        (lambda content: damaged(content, "machine", "threads", value=8), '"threads" is 8, and this machine has 2'),
        (lambda content: damaged(content, "machine", value=5), '"machine" is 5, and must be an object'),
        (lambda content: damaged(content, "measured", value=None), '"measured" is None, and must be text'),
        (lambda content: damaged(content, "convolutions", value=[]), '"convolutions" is [], and must be an object'),
        (lambda content: damaged(content, "convolutions", POINTWISE, value=1), "is 1, and must be an object"),
        (lambda content: damaged(content, "convolutions", POINTWISE, "choice", value=[1] * 3), '"choice" contains 1'),
        (lambda content: damaged(content, "convolutions", POINTWISE, "choice", value=["native"] * 2), "must have 3"),
        (lambda content: damaged(content, "convolutions", POINTWISE, "choice", value=["fast"] * 3), "'fast', and must"),
        (lambda content: damaged(content, "convolutions", SPATIAL, "choice", value=MATRIX), "the forward 'matrix'"),
        (lambda content: damaged(content, "convolutions", "3x3", value={"choice": NATIVE}), "names no convolution"),
        (lambda content: damaged(content, "convolutions", POINTWISE, "milliseconds", value=1), '"milliseconds" is 1'),
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_table_is_a_sentence_and_the_rules_choose(damage, words):
    add_to_table(MACHINE, table(pointwise=MATRIX, spatial=NATIVE), fault_of)
    MACHINE.path.write_text(damage(json.loads(MACHINE.path.read_text())))
    with pytest.raises(RunError) as error:
        stored()
    assert words in str(error.value)
    assert str(error.value).startswith(f"{MACHINE.path}: ")
    chosen = choose_convolutions(MACHINE, {}, fault_of)
    assert (chosen.origin, chosen.chosen) == ("built-in", {})
    assert chosen.notes == (f"{error.value}; this run does not use the table",)
    add_to_table(MACHINE, table(pointwise=MATRIX), fault_of)
    assert stored().choices == {POINTWISE: MATRIX}


def test_a_cache_that_cannot_be_read_is_a_sentence(cache):
    MACHINE.path.mkdir(parents=True)
    (note,) = choose_convolutions(MACHINE, {}, fault_of).notes
    assert note == (
        f"{MACHINE.path}: the measured convolutions cannot be read (Is a directory); this run does not use the table"
    )


def test_without_a_home_there_is_no_table(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("utils.convolution_table.user_cache", user_cache)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert choose_convolutions(MACHINE, {}, fault_of) == Convolutions(origin="built-in")
    with pytest.raises(FileNotFoundError, match="set XDG_CACHE_HOME"):
        user_cache()


def test_the_cache_is_that_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache"


def test_a_new_run_uses_the_table_and_says_so():
    add_to_table(MACHINE, table(pointwise=MATRIX, spatial=NATIVE), fault_of)
    chosen = choose_convolutions(MACHINE, {"seed": 3}, fault_of)  # imported weights have no position
    assert chosen.origin == "measured 2026-11-30 on this machine (2 shapes)"
    assert chosen.chosen == {POINTWISE: MATRIX, SPATIAL: NATIVE}
    assert notes_on_use(chosen, [used(POINTWISE, MATRIX)]) == []
    (note,) = notes_on_use(chosen, [used(POINTWISE, MATRIX), used(POINTWISE, MATRIX), used("other", NATIVE)])
    assert note.startswith("the measured table has no entry for 1 of 2 shapes of convolutions in this network")


def used(key, names, rules=NATIVE):
    return ChosenConvolution(key, names, rules, 0)


RESUMED = {"position": {"epoch": 0, "example": 4}}


def test_a_run_goes_on_with_what_it_began_with():
    add_to_table(MACHINE, table(pointwise=NATIVE, spatial=NATIVE), fault_of)
    chosen = choose_convolutions(MACHINE, RESUMED | {"convolutions": {POINTWISE: list(MATRIX)}}, fault_of)
    assert chosen.origin == "measured (1 shape), as recorded in the checkpoint"
    assert chosen.chosen == {POINTWISE: MATRIX}
    (note,) = notes_on_use(chosen, [used(POINTWISE, MATRIX), used(SPATIAL, NATIVE), used("other", NATIVE)])
    assert note.endswith("a new run on this machine would choose others for 1 of 3 shapes")
    assert notes_on_use(chosen, [used(SPATIAL, NATIVE)]) == []
    began_without = choose_convolutions(MACHINE, RESUMED, fault_of)
    assert (began_without.origin, began_without.chosen) == ("built-in", {})


def test_a_recorded_choice_that_this_program_does_not_know_is_a_sentence():
    chosen = choose_convolutions(MACHINE, RESUMED | {"convolutions": {POINTWISE: ["quantum"] * 3}}, fault_of)
    assert chosen.chosen == {}
    (note,) = chosen.notes
    assert "does not know" in note
    assert "'quantum', and must have one of native, matrix" in note


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        ({"avx2", "avx512f", "avx512_bf16"}, "bfloat16"),
        ({"avx2", "avx512f"}, "avx512"),
        ({"avx2"}, "avx2"),
        ({}, "avx2"),
    ],
)
def test_rules_are_for_a_kind_of_cpu(features, kind):
    assert kind_of_cpu(frozenset(features)) == kind


def counted(**seconds):
    """Calls that move a clock of their own, in the order of their runs, and the clock."""
    ran, now = [], [0.0]

    def call(name, took: Iterator[float]):
        def run():
            ran.append(name)
            now[0] += next(took)

        return run

    return {name: call(name, iter(values)) for name, values in seconds.items()}, ran, lambda: now[0]


def test_formulations_take_turns_and_slow_ones_drop_out():
    calls, ran, clock = counted(a=[9, 1, 1, 1, 2, 3], b=[9, 9, 1, 2, 2, 2], c=[9, 4, 4])
    assert compare(calls, "a", 3, clock) == {"a": [1000, 2000, 3000], "b": [2000, 2000, 2000], "c": [4000]}
    assert "".join(ran) == "abc" + "abcabc" + "abbaab"
    calls, ran, clock = counted(a=[9, 4, 4, 4], b=[9, 1, 1, 1])
    assert compare(calls, "a", 1, clock) == {"a": [4000], "b": [1000]}  # the built-in one never drops out


def test_a_process_with_fewer_threads_measures_on_as_many_cpus(monkeypatch):
    allowed = []
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {5, 3})
    monkeypatch.setattr("os.sched_setaffinity", lambda _, cpus: allowed.append(cpus))
    monkeypatch.setattr(convolutions, "start", lambda command, work: 0)
    assert measure("--arch=resnet18", "--threads=1") == measure("--arch=resnet18") == 0
    assert allowed == [[3]]


def test_a_machine_is_its_processor_with_or_without_onednn(monkeypatch):
    with_it = this_machine("2.21.0", 2, "NHWC", "float32")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert this_machine("2.21.0", 2, "NHWC", "float32").path != with_it.path


@pytest.mark.parametrize(
    ("times", "chosen"),
    [
        ({"a": [4, 4, 4, 4], "b": [3, 3, 3, 3]}, "b"),
        ({"a": [4, 4, 4, 4], "b": [3.9, 3.9, 3.9, 3.9]}, "a"),  # 2.5 % are within the noise
        ({"a": [4, 4, 4, 4], "b": [1, 1, 5, 5]}, "a"),  # only faster in half of the rounds
        ({"a": [4, 4, 4, 4], "b": [1, 1, 1, 9]}, "b"),
        ({"a": [4, 4, 4, 4], "b": [1]}, "a"),  # dropped out
        ({"b": [3, 3], "a": [2, 2]}, "a"),
    ],
)
def test_the_built_in_formulation_stays_unless_another_is_clearly_faster(times, chosen):
    assert fastest(times, "a") == chosen


def measure(*flags):
    with tiny_networks():
        return convolutions.main(["--batch_size=2", "--image_size=16", "--rounds=1", *flags])


def test_the_command_measures_the_network_and_trainings_use_its_table(cache, capsys):
    assert measure("--arch=resnext101-32x4d") == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"4 shapes of convolutions in float32, \d+ threads?", lines[0])
    assert lines[1] == "[1/4] 2 x 16 x 16 x 3, 7 x 7 to 4, stride 2, groups 1, SAME, float32; used 1 time"
    directions = [line.split()[0] for line in lines[2:4]]
    assert directions == ["forward", "filter"]  # images have no gradient
    grouped = next(number for number, line in enumerate(lines) if "groups 2" in line)
    assert re.match(r"  forward +native [\d.]+  split [\d.]+  joined_2 [\d.]+  -> ", lines[grouped + 1])
    assert re.match(r"  input gradient +native [\d.]+  mirrored [\d.]+  split", lines[grouped + 2])
    assert re.fullmatch(r"convolutions of a step: [\d.]+ ms by the .*, [\d.]+ ms as chosen, [\d.]+ times.*", lines[-2])
    (path,) = cache.iterdir()
    assert lines[-1] == f"stored in {path}, which trainings on this machine use from now on"
    entries = json.loads(path.read_text())["convolutions"]
    assert len(entries) == 4
    for key, entry in entries.items():
        assert Signature.from_key(key).batch == 2
        assert fault_of(key, tuple(entry["choice"])) is None


def test_an_interrupted_measurement_stores_what_it_has(cache, capsys):
    received = iter([None, "SIGINT", "SIGINT"])

    class Stop:
        received = property(lambda self: next(received))

    command = parse(["--mode=training_benchmark", "--arch=resnet18", "--batch_size=2", "--image_size=16", "--cpu"], {})
    with tiny_networks():
        assert convolutions._measure(command, 1, Stop()) == 75
    assert "[2/" not in capsys.readouterr().out
    (path,) = cache.iterdir()
    assert len(json.loads(path.read_text())["convolutions"]) == 1


def test_a_table_that_cannot_be_stored_is_printed_and_an_error(tmp_path, capsys):
    (tmp_path / "cache").write_text("a file")
    assert measure("--arch=resnet18") == 1
    printed = capsys.readouterr()
    assert "ms as chosen" in printed.out
    assert "cannot be written (Not a directory), so trainings will not use these choices" in printed.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--rounds=0",), "--rounds 0: must be a positive integer"),
        (("--threads=100000",), "--threads 100000: must be 1 to "),
        (("--", "--data_format=NCHW"), "--data_format NCHW: has no choice of formulations"),
        (("--batch_size=0",), "--batch_size 0: must be a positive integer"),
    ],
)
def test_wrong_flags_are_refused(flags, words, capsys):
    assert measure("--arch=resnet18", *flags) == 2
    assert words in capsys.readouterr().err
