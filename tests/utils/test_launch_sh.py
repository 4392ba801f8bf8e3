import os
import shlex
import signal

import pytest

from tests.utils.programs import program

OPEN_MPI = (
    "-H localhost:{0} --bind-to none --map-by slot -x NCCL_DEBUG=INFO -x LD_LIBRARY_PATH -x PATH"
    " --mca pml ob1 --mca btl ^openib"
)


def test_one_process_is_the_interpreter_itself(shell, clone):
    python = program(clone / "path" / "python", "")
    done = shell("launch 1 main.py --seed 1", DRY_RUN="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{python} -u {clone}/clone/main.py --seed 1\n"


def test_several_processes_go_through_open_mpi(shell, clone):
    python = program(clone / "path" / "python3", "")
    mpiexec = program(clone / "path" / "mpiexec", "")
    program(clone / "path" / "horovodrun", "")
    words = shlex.split(shell("launch 4 main.py @recipe.args", DRY_RUN="1").stdout)
    options = f"--allow-run-as-root -np 4 {OPEN_MPI.format(4)}".split()
    assert words == [str(mpiexec), *options, str(python), "-u", f"{clone}/clone/main.py", "@recipe.args"]


def test_where_there_is_only_horovods_launcher_they_go_through_that(shell, clone):
    python = program(clone / "clone" / ".venv" / "bin" / "python", "")
    horovodrun = program(clone / "clone" / ".venv" / "bin" / "horovodrun", "")
    words = shlex.split(shell("launch 2 main.py", DRY_RUN="1").stdout)
    assert words == [str(horovodrun), "-np", "2", "-H", "localhost:2", str(python), "-u", f"{clone}/clone/main.py"]


def test_without_either_they_are_started_by_our_own_launcher_on_this_machine(shell, clone):
    python = program(clone / "path" / "python3", 'echo "$@"')
    words = ["-np", "8", str(python), "-u", f"{clone}/clone/main.py"]
    assert shlex.split(shell("launch 8 main.py").stdout) == [f"{clone}/clone/tools/launch.py", *words]
    printed = shell("launch 8 main.py", DRY_RUN="1").stdout
    assert shlex.split(printed) == [str(python), f"{clone}/clone/tools/launch.py", *words]


def test_on_other_machines_processes_are_refused_without_either_and_a_dry_run_still_shows_the_command(shell, clone):
    python = program(clone / "path" / "python3", "")
    done = shell("launch 8 main.py", HOSTS="a,b")
    assert done.returncode == 2
    assert (
        done.stderr == f"HOSTS=a,b: needs mpiexec (Open MPI) or horovodrun; neither is on the PATH or beside {python}\n"
    )
    assert shell("launch 8 main.py", HOSTS="a,b", DRY_RUN="1").stdout.startswith("mpiexec --allow-run-as-root -np 16 ")


def test_the_interpreter_is_the_one_named_else_the_clones_else_that_on_the_path(shell, clone):
    assert "No Python on the PATH" in shell("launch 1 main.py").stderr
    for name in ("python", "python3"):  # each precedes the existing one
        program(clone / "path" / name, f"echo {name}")
        assert shell("launch 1 main.py").stdout == f"{name}\n"
    program(clone / "clone" / ".venv" / "bin" / "python", "echo clone")
    assert shell("launch 1 main.py").stdout == "clone\n"
    mine = program(clone / "my own" / "python", "echo mine")
    assert shell("launch 1 main.py", PYTHON=str(mine)).stdout == "mine\n"
    done = shell("launch 1 main.py", PYTHON="/no/python")
    assert (done.returncode, done.stderr) == (2, "PYTHON=/no/python: there is no such program\n")


@pytest.mark.parametrize("processes", ["0", "-1", "two", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(shell, processes):
    done = shell(f"launch {processes} main.py")
    assert done.returncode == 2
    assert done.stderr == f"launch: {processes} processes: must be a positive integer\n"


def test_arguments_arrive_as_they_were_given_and_a_dry_run_prints_them_so_that_a_shell_reads_the_same(shell, clone):
    program(clone / "path" / "python", r"""printf '<%s>' "${@:3}" """)
    arguments = ["a b", "it's", "$HOME", "*", "", "--x=1;2"]
    code = f"launch 1 main.py {shlex.join(arguments)}"
    assert shell(code).stdout == "".join(f"<{argument}>" for argument in arguments)
    printed = shell(code, DRY_RUN="1").stdout
    assert printed.count("\n") == 1
    assert shlex.split(printed)[3:] == arguments


def test_the_current_folder_stays_so_that_relative_paths_mean_what_the_caller_meant(shell, clone):
    program(clone / "path" / "python", 'echo "$PWD"')
    assert shell("launch 1 main.py").stdout == f"{clone}/elsewhere\n"


def test_the_status_is_the_programs_with_a_log_and_without(shell, clone):
    program(clone / "path" / "python", "exit 75")
    assert shell("launch 1 main.py").returncode == 75
    assert shell("launch_logged log 1 main.py").returncode == 75
    done = shell("launch_logged log 1 main.py || echo status $?")
    assert (done.returncode, done.stdout) == (0, "status 75\n")


def test_the_log_gets_both_streams_and_what_it_holds_stays(shell, clone):
    program(clone / "path" / "python", "echo out; echo err >&2")
    for count in (1, 2):
        done = shell("launch_logged some/folder/log 1 main.py; echo after")
        assert (done.returncode, done.stdout, done.stderr) == (0, "out\nerr\nafter\n", "")
        assert (clone / "elsewhere" / "some" / "folder" / "log").read_text() == "out\nerr\n" * count


def test_a_log_that_cannot_be_written_starts_nothing(shell, clone):
    program(clone / "path" / "python", "echo started")
    (clone / "elsewhere" / "file").touch()
    done = shell("launch_logged file/log 1 main.py || exit")
    assert done.returncode == 1
    assert "started" not in done.stdout
    assert "file" in done.stderr


def test_a_dry_run_with_a_log_writes_none(shell, clone):
    python = program(clone / "path" / "python", "")
    done = shell("launch_logged log 1 main.py", DRY_RUN="1")
    assert done.stdout == f"{python} -u {clone}/clone/main.py\n"
    assert list((clone / "elsewhere").iterdir()) == []


WAITS = """
trap 'echo told; exit 75' TERM INT USR1 HUP
exec 4<> <(:)
echo ready
while true; do read -r -t 5 -u 4 || true; done
"""


@pytest.mark.parametrize("call", ["launch", "launch_logged log"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_the_script_reaches_the_program_whose_last_words_and_status_are_kept(clone, started, call, number):
    program(clone / "path" / "python", WAITS)
    with started(f"{call} 1 main.py", number) as process:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        assert process.stdout.read() == "told\n"
    assert process.returncode == 75
    if "log" in call:
        assert (clone / "elsewhere" / "log").read_text() == "ready\ntold\n"
