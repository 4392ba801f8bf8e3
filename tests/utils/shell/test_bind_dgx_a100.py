import subprocess
from pathlib import Path

import pytest

from tests.utils.programs import program
from utils.hvd_utils import fair_share

SCRIPT = Path(__file__).resolve().parents[3] / "utils" / "shell" / "bind_dgx_a100.sh"
USAGE = "usage: bash utils/shell/bind_dgx_a100.sh COMMAND [ARGUMENTS...]"
NODE_CORES, MACHINE_CORES = 16, 128  # NPS4; the second thread of core i is the CPU 128 + i
NUMACTL = """
for refused in $REFUSED; do
    case " $* " in *"$refused"*) exit 1 ;; esac
done
if [ "$1" = --hardware ]; then
    echo "available: ${PRETENDED:-8} nodes (0-$((${PRETENDED:-8} - 1)))"
    echo "node 0 cpus: 0 1 2"
    exit
fi
while [[ $1 == --* ]]; do binding="$binding $1"; shift; done
if [ "$1" != true ]; then echo "bound:$binding"; fi
exec "$@"
"""


def cpus_of(node):
    """The logical CPUs of a NUMA node of a DGX A100."""
    cores = range(node * NODE_CORES, (node + 1) * NODE_CORES)
    return [thread * MACHINE_CORES + core for thread in (0, 1) for core in cores]


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
def test_each_process_runs_on_a_numa_node_of_its_own(tmp_path, variable):
    program(tmp_path / "path" / "numactl", NUMACTL)
    for rank, node in enumerate((3, 2, 1, 0, 7, 6, 5, 4)):
        done = run(tmp_path, "echo", "a b", **{variable: str(rank)})
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"bound: --cpunodebind={node} --membind={node}\na b\n"


def test_eight_processes_share_out_all_cores_close_to_their_gpus(tmp_path):
    program(tmp_path / "path" / "numactl", NUMACTL)
    outputs = [run(tmp_path, "echo", SLURM_LOCALID=str(rank)).stdout for rank in range(8)]
    nodes = [int(output.split("--membind=")[1].split()[0]) for output in outputs]
    assert sorted(cpu for node in nodes for cpu in cpus_of(node)) == list(range(2 * MACHINE_CORES))
    assert [fair_share([("dgx", cpus_of(node)) for node in nodes], rank) for rank in range(8)] == [32] * 8
    gpu_nodes = (3, 3, 1, 1, 7, 7, 5, 5)  # nvidia-smi topo -m; nodes 0 to 3 are one socket
    assert [node // 2 for node in nodes] == [node // 2 for node in gpu_nodes]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_another_machine_is_left_alone(tmp_path, count):
    """Its nodes have other neighbours: of 2 nodes, ranks 2 and 3 would find theirs, and the other ranks none."""
    program(tmp_path / "path" / "numactl", NUMACTL)
    done = run(tmp_path, "echo", "done", SLURM_LOCALID="2", PRETENDED=str(count))
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    said = run(tmp_path, "echo", SLURM_LOCALID="0", PRETENDED=str(count)).stderr
    assert said == (
        "bind_dgx_a100.sh: a DGX A100 has 8 NUMA nodes, unlike this machine "
        f"(available: {count} nodes (0-{count - 1})): processes are not bound\n"
    )


def test_a_process_without_a_number_is_the_first(tmp_path):
    program(tmp_path / "path" / "numactl", NUMACTL)
    assert "--cpunodebind=3 " in run(tmp_path, "echo").stdout


@pytest.mark.parametrize(
    ("refused", "bound", "said"),
    [
        ("--membind", "bound: --cpunodebind=1\n", "memory cannot be bound to NUMA node"),
        ("--cpunodebind", "", "cores of NUMA node 3 cannot be bound"),
        ("--hardware", "", "unlike this machine (unknown)"),
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
