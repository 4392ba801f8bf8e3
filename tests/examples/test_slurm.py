import os
import re
from pathlib import Path

import pytest

from tests.launching import ROOT, dry_run, run
from tests.utils.programs import program

SCRIPT = "examples/slurm_two_nodes.sh"
TRAINING = "se-resnext101-32x4d/training/DGX1_SE-RNxt101-32x4d_AMP_90E.sh"
ASKED = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", (ROOT / SCRIPT).read_text(), flags=re.MULTILINE))


def test_what_is_asked_of_slurm_is_what_runs(tmp_path):
    launcher, path, words = dry_run(SCRIPT, ROOT / TRAINING, "/out", "/data", "--xla", cwd=tmp_path)
    assert path == Path("main.py")
    assert words[-1] == "--xla"
    nodes, per_node = int(ASKED["nodes"]), int(ASKED["ntasks-per-node"])
    assert {f"--nodes={nodes}", f"--ntasks={nodes * per_node}", f"--ntasks-per-node={per_node}"} <= set(launcher)
    assert ASKED["gpus-per-node"] == ASKED["ntasks-per-node"] == "8"


def test_the_job_goes_back_into_the_queue_and_is_told_in_time():
    assert {"requeue", "exclusive"} <= set(ASKED)
    assert ASKED["open-mode"] == "append"
    name, seconds = ASKED["signal"].split("@")
    assert (name, int(seconds)) == ("USR1", 300)


def test_detection_runs_on_two_nodes_too(tmp_path):
    launcher, path, _ = dry_run(SCRIPT, ROOT / "examples/SSD320_FP16_8GPU.sh", cwd=tmp_path, SLURM_JOB_NUM_NODES="3")
    assert path == Path("object_detection/model_main.py")
    assert "--ntasks=24" in launcher


@pytest.mark.parametrize(("words", "status"), [(["--help"], 0), ([], 2), (["--nodes=3"], 2)])
def test_its_usage_is_shown_and_is_a_failure_only_where_it_was_not_asked_for(words, status, tmp_path):
    done = run(SCRIPT, *words, cwd=tmp_path)
    assert done.returncode == status
    assert "sbatch examples/slurm_two_nodes.sh SCRIPT [the script's arguments...]\n" in done.stdout + done.stderr
    assert bool(done.stdout) == (not status)


@pytest.mark.parametrize(("status", "requeued"), [(75, "requeue 7\n"), (0, ""), (1, "")])
def test_a_preempted_job_is_queued_again_and_any_other_ends_with_its_status(tmp_path, status, requeued):
    program(tmp_path / "bin" / "scontrol", 'echo "$@"')
    program(tmp_path / "job.sh", f"exit {status}")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = run(SCRIPT, tmp_path / "job.sh", cwd=tmp_path, PATH=path, SLURM_JOB_ID="7")
    assert (done.returncode, done.stdout) == (status, requeued)


def test_without_a_script_it_says_how_it_is_called(tmp_path):
    done = run(SCRIPT, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: sbatch ")
