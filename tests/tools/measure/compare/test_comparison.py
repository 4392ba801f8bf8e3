import json
import os
from functools import partial

import pytest

from tests.tools.measure.compare.fakes import mortal, steady
from tools.measure.compare import __main__ as command
from tools.measure.compare import comparison, turns
from tools.measure.compare.line_up import Entrant, UnavailableError

OPTIONS = ("--rounds=8", "--steps=4")


@pytest.fixture(autouse=True)
def in_haste(monkeypatch):
    """No pauses and no baseline of the machine; the processors of the tests stay as they are."""
    monkeypatch.setattr(turns, "PAUSE_S", 0.0)
    monkeypatch.setattr(turns, "SHORTEST_TURN_S", 0.0)
    monkeypatch.setattr(comparison.Comparison, "_peaks", lambda self, hall: {"matrix product, float32": "200 GFLOP/s"})
    monkeypatch.setattr(comparison, "peak", lambda precision, threads: steady("matrix product", 0.5, work=100.0))
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, processors: None)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.25, 0.0, 0.0))


@pytest.fixture
def enter(monkeypatch):
    """Lets fake contestants take part in every cell."""

    def put(*fakes, lacking=(), broken=()):
        def found(cell, hall):
            rows = [
                Entrant(name=fake.name, peer=fake.peer, command=lambda fake=fake: list(fake.command)) for fake in fakes
            ]
            rows += [Entrant(name=name, peer=True, needs=("torch",), command=list) for name in lacking]
            return rows + [Entrant(name=name, peer=True, command=partial(fail, name)) for name in broken]

        monkeypatch.setattr(comparison, "entrants", found)

    return put


def fail(name):
    raise UnavailableError(f"cannot be prepared: {name} is too large")


def test_speeds_ratios_and_the_best_peer_are_in_the_json_and_in_the_tables(enter, tmp_path, capsys):
    own = steady("this program", 0.5, precision="float32", flops_per_image=1_000_000_000, version="A 1")
    enter(
        own, steady("slow", 1.0, peer=True, precision="float32"), steady("fast", 0.25, peer=True, precision="float32")
    )
    paths = (tmp_path / "new" / "out.json", tmp_path / "out.md")
    status = command.main(["--cells=resnet50-infer-16-f32", *OPTIONS, f"--json={paths[0]}", f"--markdown={paths[1]}"])
    assert status == 0
    found = json.loads(paths[0].read_text())
    assert (found["rounds"], found["threads"], found["load_at_start"]) == (8, 2, 0.25)
    assert found["facts"]["matrix product, float32"] == "200 GFLOP/s"
    cell = found["cells"]["resnet50-infer-16-f32"]
    speeds = {one["name"]: (one["median"], one["peer"], len(one["rounds"])) for one in cell["contestants"]}
    assert speeds == {"this program": (32.0, False, 8), "slow": (16.0, True, 8), "fast": (64.0, True, 8)}
    assert cell["contestants"][0]["version"] == "A 1"
    assert {ratio["peer"]: ratio["rounds"] for ratio in cell["ratios"]} == {"slow": [2.0] * 8, "fast": [0.5] * 8}
    assert cell["best_peer"] == "fast"
    assert cell["matrix_product_gflops"]["median"] == 200.0
    assert cell["peak_share"]["median"] == 32 / 200  # 32 images/s of 1 GFLOP
    text = paths[1].read_text()
    assert text == capsys.readouterr().out
    row = (
        "| resnet50-infer-16-f32 | images/s | 32.0 (32.0 to 32.0) | fast | 64.0 (64.0 to 64.0) | 0.50 (0.50 to 0.50) |"
    )
    assert row in text.splitlines()
    assert "| times as fast as | slow | fast |" in text
    assert "| this program | 2.00 (2.00 to 2.00) | 0.50 (0.50 to 0.50) |" in text
    assert "share of it 0.16 (0.16 to 0.16)." in text


def test_a_launch_is_measured_in_seconds_one_for_each_turn(enter, tmp_path):
    enter(steady("this program", 6.0), steady("timm script", 3.0, peer=True))
    assert command.main(["--cells=resnet50-predict", *OPTIONS, f"--json={tmp_path / 'out.json'}"]) == 0
    cell = json.loads((tmp_path / "out.json").read_text())["cells"]["resnet50-predict"]
    assert cell["unit"] == "s"
    own = cell["contestants"][0]
    assert (own["median"], own["steps_per_round"], own["rounds"]) == (6.0, 1, [6.0] * 8)
    assert cell["ratios"][0]["median"] == 0.5
    assert cell["matrix_product_gflops"] is None


def test_without_any_peer_the_own_speed_is_printed(enter, capsys):
    enter(steady("this program", 0.5, precision="float32"), lacking=["timm, eager"])
    assert command.main(["--cells=resnet50-train-16-f32", *OPTIONS]) == 0
    out, progress = capsys.readouterr()
    assert "| resnet50-train-16-f32 | images/s | 32.0 (32.0 to 32.0) | – | – | – |" in out
    assert "- timm, eager: needs torch: --oracle_python names an interpreter that has it" in out
    assert "timm, eager is left out: needs torch" in progress


def test_by_default_cells_without_a_peer_are_left_out_with_the_reason(monkeypatch, enter, capsys):
    monkeypatch.setattr(command, "TABLE", ("resnet50-train-16-f32", "input-32"))
    enter(steady("this program", 0.5), lacking=["timm, eager"])
    assert command.main([*OPTIONS]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: nothing can be measured: resnet50-train-16-f32: timm, eager needs torch: ")
    assert "; input-32: needs images: --data_dir" in error


def test_a_type_that_the_processor_lacks_leaves_its_cell_out(monkeypatch, enter, capsys):
    enter(steady("this program", 0.5, precision="float32"))
    monkeypatch.setattr("tools.measure.compare.line_up.cpu_features", lambda: frozenset({"avx2"}))
    assert command.main(["--cells=resnet50-infer-1-bf16,resnet50-infer-1-f32", *OPTIONS]) == 3
    out = capsys.readouterr().out
    assert "- resnet50-infer-1-bf16: this CPU has no bfloat16 instructions" in out
    assert "## resnet50-infer-1-f32" in out


def test_deaths_failures_and_other_work_are_named_and_the_rest_is_measured(enter, capsys):
    own = steady("this program", 0.5, precision="float32", parameters=3)
    other = steady("other", 0.1, peer=True, precision="float32", parameters=4)
    enter(own, mortal("unlucky", 4, peer=True), other, steady("bf16", peer=True, precision="bfloat16"), broken=["huge"])
    assert command.main(["--cells=resnet50-infer-16-f32", *OPTIONS]) == 3
    out = capsys.readouterr().out
    assert "- huge: cannot be prepared: huge is too large" in out
    assert "- other: parameters 4, but 3 of this program" in out
    assert "- bf16: computes in bfloat16" in out
    assert "| resnet50-infer-16-f32 | images/s | 32.0 (32.0 to 32.0) | – | – | – |" in out


def test_a_run_in_which_all_die_fails(enter, capsys):
    enter(mortal("this program", 0))
    assert command.main(["--cells=resnet50-start", *OPTIONS]) == 1
    assert capsys.readouterr().err.endswith(
        "error: no contestant lived to be measured; --cells: resnet50-start: this program died: ended with status 9: "
        "out of memory, I fear\n"
    )


def test_an_interruption_keeps_the_cells_before_it(monkeypatch, enter, tmp_path, capsys):
    enter(steady("this program", 0.5))
    measure = comparison.Comparison._measure

    def interrupted(self, cell, hall):
        if cell.name == "resnet50-predict":
            raise KeyboardInterrupt
        measure(self, cell, hall)

    monkeypatch.setattr(comparison.Comparison, "_measure", interrupted)
    flags = ["--cells=resnet50-start,resnet50-predict", f"--json={tmp_path / 'out.json'}"]
    assert command.main([*flags, *OPTIONS]) == 75
    assert [*json.loads((tmp_path / "out.json").read_text())["cells"]] == ["resnet50-start"]
    assert capsys.readouterr().err.endswith(
        "interrupted: what was measured before is in the files that were asked for\n"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rounds=7"], "--rounds 7: must be at least 8"),
        (["--steps=3"], "--steps 3: must be at least 4"),
        (["--threads=0"], "--threads 0: must be a positive integer"),
        (["--threads=9999"], "--threads 9999: must be at most "),
        (["--cells=resnet50-infer-1-bf17"], "--cells resnet50-infer-1-bf17: no such cell"),
        (["--cells="], "--cells: names no cell"),
        (["--json=/proc/none/out.json"], "--json /proc/none/out.json: cannot be written: "),
        (["--markdown=/"], "--markdown /: cannot be written: is a folder"),
        (["--json=out", "--markdown=out"], "--markdown out: is the file of --json too; name another one"),
        (
            ["--data_dir=/none", "--cells=resnet50-start"],
            "--data_dir /none: only used for the cell input-BATCH, and --cells names none",
        ),
        (["--oracle_python=/none/python"], "--oracle_python /none/python: no such file; make the environment"),
    ],
)
def test_bad_input_is_refused_before_any_work(capsys, flags, message):
    assert command.main(flags) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {message}")


def test_records_of_another_task_are_refused_before_any_work(capsys, scenes):
    assert command.main([f"--data_dir={scenes}"]) == 2
    message = f"error: --data_dir {scenes}: holds records for detection; must be for classification\n"
    assert capsys.readouterr().err == message


def test_records_that_are_absent_fail_before_any_work(capsys):
    assert command.main(["--data_dir=/none"]) == 1
    assert "error: --data_dir /none: no such folder" in capsys.readouterr().err
