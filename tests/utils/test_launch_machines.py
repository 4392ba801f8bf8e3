"""``launch`` with several processes: the launcher, the machines and the CPU binding."""

import itertools
import os
import shlex
import signal
import subprocess
import sys

import pytest

from tests.utils.programs import program

ENDS = ["-x", "LD_LIBRARY_PATH", "-x", "PATH", "--mca", "pml", "ob1", "--mca", "btl", "^openib"]


@pytest.fixture
def words(shell, clone):
    """The words of a dry run before the interpreter; asserts the words from it on."""
    python = program(clone / "path" / "python3", "")
    for launcher in ("mpiexec", "horovodrun", "srun"):
        program(clone / "path" / launcher, "")

    def run(code="launch 8 main.py --seed 1", **environment):
        done = shell(code, DRY_RUN="1", **environment)
        assert (done.returncode, done.stderr) == (0, "")
        printed = shlex.split(done.stdout)
        assert printed[-5:] == [str(python), "-u", f"{clone}/clone/main.py", "--seed", "1"]
        assert printed[0].startswith(f"{clone}/path/")
        return [printed[0].rpartition("/")[2], *printed[1:-5]]

    return run


def after(words, flag):
    return words[words.index(flag) + 1]


@pytest.mark.parametrize(
    ("hosts", "places", "total"),
    [
        ("a,b", "a:8,b:8", "16"),
        ("a:4,b:8", "a:4,b:8", "12"),
        ("a", "a:8", "8"),
        ("10.0.0.1:2,b", "10.0.0.1:2,b:8", "10"),
    ],
)
@pytest.mark.parametrize("launcher", ["mpiexec", "horovodrun"])
def test_each_machine_gets_its_processes_or_as_many_as_the_script_says(words, launcher, hosts, places, total):
    printed = words(HOSTS=hosts, LAUNCHER=launcher)
    assert printed[0] == launcher
    assert (after(printed, "-H"), after(printed, "-np")) == (places, total)


@pytest.mark.parametrize("hosts", ["a:0", "a:x", ":8", "a,,b", "a,", "a b", "a\nb", "a:8:8"])
def test_machines_that_cannot_be_meant_are_refused(shell, clone, hosts):
    program(clone / "path" / "python3", "")
    done = shell("launch 8 main.py", HOSTS=hosts, DRY_RUN="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"HOSTS={hosts}: must be names of machines, or name:processes, separated by commas\n"


def test_open_mpi_takes_the_environment_along_to_other_machines(words):
    alone = words(TF_XLA_FLAGS="a b", NCCL_DEBUG="WARN")
    assert alone[-12:] == ["-x", "NCCL_DEBUG=WARN", *ENDS]
    printed = words(TF_XLA_FLAGS="a b", NCCL_SOCKET_IFNAME="eth0", NCCL_DEBUG="WARN", OTHER="1", HOSTS="a")
    passed = [word for before, word in itertools.pairwise(printed) if before == "-x"]
    assert passed == ["NCCL_DEBUG=WARN", "LD_LIBRARY_PATH", "PATH", "NCCL_SOCKET_IFNAME", "TF_XLA_FLAGS"]


def test_horovodrun_is_used_where_it_is_asked_for(words):
    assert words(LAUNCHER="horovodrun") == ["horovodrun", "-np", "8", "-H", "localhost:8"]


def test_srun_is_used_inside_an_allocation_on_all_of_its_machines(words):
    printed = words(SLURM_JOB_ID="7", SLURM_JOB_NUM_NODES="2")
    flags = "--nodes=2 --ntasks=16 --ntasks-per-node=8 --kill-on-bad-exit=1 --cpu-bind=none --mpi=pmix"
    assert printed == ["srun", *flags.split()]
    assert words(SLURM_JOB_ID="7", SLURM_JOB_NUM_NODES="2", LAUNCHER="mpiexec")[0] == "mpiexec"


def test_srun_outside_an_allocation_is_given_the_machines(words):
    printed = words(LAUNCHER="srun", HOSTS="a:4,b:4", SLURM_MPI_TYPE="pmi2")
    flags = "--nodes=2 --ntasks=8 --ntasks-per-node=4 --kill-on-bad-exit=1 --cpu-bind=none --nodelist=a,b"
    assert printed == ["srun", *flags.split()]
    assert words(LAUNCHER="srun")[1:4] == ["--nodes=1", "--ntasks=8", "--ntasks-per-node=8"]


def test_srun_refuses_machines_of_unequal_processes(shell, clone):
    program(clone / "path" / "python3", "")
    done = shell("launch 8 main.py", LAUNCHER="srun", HOSTS="a:4,b", DRY_RUN="1")
    assert done.returncode == 2
    assert done.stderr == (
        "HOSTS=a:4,b: srun starts equally many processes on each machine; LAUNCHER=mpiexec need not\n"
    )


def test_one_process_stays_here_in_an_allocation_and_goes_where_hosts_says(shell, clone, words):
    python = program(clone / "path" / "python3", "")
    one = "launch 1 main.py --seed 1"
    done = shell(one, DRY_RUN="1", SLURM_JOB_ID="7", SLURM_JOB_NUM_NODES="2")
    assert shlex.split(done.stdout)[0] == str(python)
    assert words(one, HOSTS="a")[:6] == ["mpiexec", "--allow-run-as-root", "-np", "1", "-H", "a:1"]
    assert words(one, LAUNCHER="srun")[1:4] == ["--nodes=1", "--ntasks=1", "--ntasks-per-node=1"]


def test_a_launcher_that_is_none_or_not_there_is_refused(shell, clone):
    python = program(clone / "path" / "python3", "")
    done = shell("launch 8 main.py", LAUNCHER="torchrun")
    assert (done.returncode, done.stderr) == (2, "LAUNCHER=torchrun: must be mpiexec, horovodrun, srun or launch\n")
    done = shell("launch 8 main.py", LAUNCHER="srun")
    assert (done.returncode, done.stderr) == (2, f"LAUNCHER=srun: there is no srun on the PATH or beside {python}\n")
    done = shell("launch 8 main.py", LAUNCHER="launch", HOSTS="a,b", DRY_RUN="1")
    assert (done.returncode, done.stderr) == (
        2,
        "HOSTS=a,b: LAUNCHER=launch starts processes on this machine only; mpiexec starts them on others\n",
    )


def test_words_for_the_launcher_come_last_among_its_own(words):
    assert words(LAUNCHER_ARGS="--mca btl_tcp_if_include eth0")[-3:] == ["--mca", "btl_tcp_if_include", "eth0"]
    assert words(LAUNCHER="horovodrun", LAUNCHER_ARGS="-p 2222")[-2:] == ["-p", "2222"]


@pytest.mark.parametrize(("bind", "slurm"), [("socket", "sockets"), ("core", "cores"), ("numa", "ldoms")])
def test_processes_are_bound_by_the_launcher(words, bind, slurm):
    assert after(words(BIND=bind), "--bind-to") == bind
    assert f"--cpu-bind={slurm}" in words(BIND=bind, LAUNCHER="srun")
    assert after(words(BIND_TO_SOCKET="1"), "--bind-to") == "socket"
    assert after(words(BIND_TO_SOCKET="1", BIND="none"), "--bind-to") == "none"


def test_our_own_launcher_is_started_by_its_path(shell, clone):
    python = program(clone / "path" / "python3", "")
    printed = shlex.split(shell("launch 8 main.py", LAUNCHER="launch", BIND="dgx_a100", DRY_RUN="1").stdout)
    wrapper = ["bash", f"{clone}/clone/utils/shell/bind_dgx_a100.sh"]
    program_words = [str(python), "-u", f"{clone}/clone/main.py"]
    assert printed == [str(python), f"{clone}/clone/tools/launch.py", "-np", "8", *wrapper, *program_words]


def test_a_dgx_a100_binds_by_its_own_script(words, clone):
    for launcher in ("mpiexec", "horovodrun", "srun"):
        printed = words(BIND="dgx_a100", LAUNCHER=launcher)
        assert printed[-2:] == ["bash", f"{clone}/clone/utils/shell/bind_dgx_a100.sh"]
    assert after(words(BIND="dgx_a100"), "--bind-to") == "none"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"BIND": "gpu"}, "BIND=gpu: must be none, socket, core, numa or dgx_a100\n"),
        (
            {"BIND": "core", "LAUNCHER": "horovodrun"},
            "BIND=core: horovodrun does not bind processes; LAUNCHER=mpiexec does\n",
        ),
        (
            {"BIND": "core", "LAUNCHER": "launch"},
            "BIND=core: launch does not bind processes; LAUNCHER=mpiexec does\n",
        ),
    ],
)
def test_a_binding_that_cannot_be_had_is_refused(shell, clone, environment, message):
    program(clone / "path" / "python3", "")
    done = shell("launch 8 main.py", DRY_RUN="1", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


MPIEXEC = """
trap 'echo asked to end' USR1
trap 'echo ended; exit 15' TERM
exec 4<> <(:)
echo ready
while true; do read -r -t 5 -u 4 || true; done
"""


@pytest.mark.parametrize("call", ["launch", "launch_logged log"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_open_mpi_is_asked_to_end_by_usr1_first_for_it_kills_its_processes_at_others(clone, started, call, number):
    program(clone / "path" / "python3", "")
    program(clone / "path" / "mpiexec", MPIEXEC)
    with started(f"{call} 2 main.py", number) as process:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        assert process.stdout.readline() == "asked to end\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.read() == "ended\n"
    assert process.returncode == 15


RANK = """
import os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: (os.write(1, b"saved\\n"), sys.exit(75)))
os.write(1, b"ready\\n")
time.sleep(60)
"""
HOROVODRUN = """
while [ "$1" != "$PYTHON" ]; do shift; done
bash -c '"$0" "$@" & "$0" "$@" & wait' "$@" # not the processes themselves; Open MPI is in between
"""


@pytest.mark.parametrize("call", ["launch", "launch_logged log"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_horovodruns_processes_are_asked_to_end_themselves_for_it_would_leave_them_behind(clone, started, call, number):
    (clone / "clone" / "main.py").write_text(RANK)
    program(clone / "path" / "horovodrun", HOROVODRUN)
    process = subprocess.Popen(
        ["bash", "-c", f"source ../clone/utils/launch.sh; {call} 2 main.py --seed 1"],
        cwd=clone / "elsewhere",
        env={"PATH": str(clone / "path"), "PYTHON": sys.executable, "LAUNCHER": "horovodrun"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert [process.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
        os.kill(process.pid, number)
        assert process.stdout.read() == "saved\n" * 2
    assert process.returncode == 0
