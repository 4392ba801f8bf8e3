import subprocess
from pathlib import Path

import pytest

from tests.utils.programs import program

SCRIPT = Path(__file__).resolve().parents[3] / "utils" / "shell" / "bind_dgx_a100.sh"
USAGE = "usage: bash utils/shell/bind_dgx_a100.sh COMMAND [ARGUMENTS...]"
NUMACTL = """
for refused in $REFUSED; do
    case " $* " in *"$refused"*) exit 1 ;; esac
done
while [[ $1 == --* ]]; do binding="$binding $1"; shift; done
if [ "$1" != true ]; then echo "bound:$binding"; fi
exec "$@"
"""


def run(tmp_path, *words, **environment):
    return subprocess.run(
        ["bash", SCRIPT, *words],
        env={"PATH": f"{tmp_path / 'path'}:/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("variable", ["SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "HOROVOD_LOCAL_RANK"])
def test_each_process_runs_on_the_numa_node_of_its_gpu(tmp_path, variable):
    program(tmp_path / "path" / "numactl", NUMACTL)
    for rank, node in enumerate((3, 3, 1, 1, 7, 7, 5, 5)):
        done = run(tmp_path, "echo", "a b", **{variable: str(rank)})
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"bound: --cpunodebind={node} --membind={node}\na b\n"


def test_a_process_without_a_number_is_the_first(tmp_path):
    program(tmp_path / "path" / "numactl", NUMACTL)
    assert "--cpunodebind=3 " in run(tmp_path, "echo").stdout


@pytest.mark.parametrize(
    ("refused", "bound", "said"),
    [
        ("--membind", "bound: --cpunodebind=1\n", "memory cannot be bound to NUMA node"),
        ("--cpunodebind", "", "this machine has no NUMA node"),
    ],
)
def test_what_cannot_be_bound_is_left_free_and_the_first_process_says_so(tmp_path, refused, bound, said):
    program(tmp_path / "path" / "numactl", NUMACTL)
    done = run(tmp_path, "echo", "done", SLURM_LOCALID="2", REFUSED=refused)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{bound}done\n", "")
    assert said in run(tmp_path, "echo", SLURM_LOCALID="0", REFUSED=refused).stderr


def test_a_ninth_process_of_a_machine_is_told_that_it_is_not_bound(tmp_path):
    program(tmp_path / "path" / "numactl", NUMACTL)
    done = run(tmp_path, "echo", "done", SLURM_LOCALID="8")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "process 8 is not bound" in done.stderr


def test_the_status_is_the_commands(tmp_path):
    program(tmp_path / "path" / "numactl", NUMACTL)
    assert run(tmp_path, "bash", "-c", "exit 75").returncode == 75


def test_its_usage_is_no_failure(tmp_path):
    done = run(tmp_path, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "bash utils/shell/bind_dgx_a100.sh COMMAND..." in done.stdout


def test_no_command_is_a_wrong_call(tmp_path):
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{USAGE}\n"
