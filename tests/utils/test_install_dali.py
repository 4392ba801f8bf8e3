"""The installation of DALI: dry with a pretended environment, and its proof with the real one where that is here."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.utils.fake_environment import ROOT, Environment

SCRIPT = "install_dali.sh"
BUILD = ["install-requirements-build", "wheel"]
INSTALL = ["install-requirements-dali", "install-nvidia_dali_tf_plugin_cuda120"]


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path)


def test_the_plugin_is_compiled_installed_beside_dali_and_proved(environment):
    status, output = environment.run(SCRIPT)
    assert status == 0, output
    assert environment.steps() == [*BUILD, *INSTALL]
    assert "compiling DALI's TensorFlow plugin for tensorflow-cpu-2.21.0" in output
    assert output.splitlines()[-1] == (
        f"{SCRIPT}: nvidia-dali-tf-plugin-cuda120==2.4.0 for tensorflow-cpu-2.21.0 is in {environment.prefix}: "
        "a pipeline runs in a graph"
    )
    assert environment.wheels()[0].startswith("nvidia-dali-tf-plugin-cuda120-2.4.0-tensorflow-cpu-2.21.0-cp")
    assert environment.left_over() == []


def test_the_second_run_does_nothing_and_a_plugin_that_is_gone_comes_from_the_cache(environment):
    environment.run(SCRIPT)
    environment.steps()
    status, output = environment.run(SCRIPT)
    assert (status, environment.steps()) == (0, [])
    assert "is in place in" in output
    (environment.packages / "nvidia/dali_tf_plugin/libdali_tf_current.so").unlink()
    status, output = environment.run(SCRIPT)
    assert (status, environment.steps()) == (0, INSTALL), output


def test_another_tensorflow_gets_a_plugin_of_its_own(environment):
    environment.run(SCRIPT)
    environment.set_tensorflow("2.22.0")
    environment.steps()
    status, output = environment.run(SCRIPT)
    assert (status, environment.steps()) == (0, [*BUILD, *INSTALL]), output
    assert len(environment.wheels()) == 2


def test_dali_that_does_not_run_is_a_failure_every_time_and_a_kept_wheel_is_built_again(environment):
    (environment.faults / "proof.fails").write_text("libdali.so: no such file")
    status, output = environment.run(SCRIPT)
    assert (status, environment.steps()) == (1, [*BUILD, *INSTALL])
    assert "DALI does not run (ImportError: libdali.so: no such file); all that was said is in " in output
    status, output = environment.run(SCRIPT)
    assert (status, environment.steps()) == (1, [*INSTALL, *BUILD, *INSTALL])
    assert "the wheel that was kept does not work: compiling it anew" in output


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ("wheel", "the compilation of DALI's TensorFlow plugin failed (ERROR: no network)"),
        ("install-requirements-dali", "the installation of DALI failed (ERROR: no network)"),
    ],
)
def test_a_step_that_fails_is_a_sentence_with_pips_own_word(environment, step, sentence):
    (environment.faults / f"{step}.fails").write_text("no network")
    status, output = environment.run(SCRIPT)
    assert status == 1
    assert f"{SCRIPT}: {sentence}; all that was said is in {environment.cache}" in output


def test_the_requirements_alone_name_the_versions():
    pins = [line for line in (ROOT / "requirements-dali.txt").read_text().splitlines() if line.startswith("nvidia")]
    assert pins == ["nvidia-dali-cuda120==2.4.0", "nvidia-dali-tf-plugin-cuda120==2.4.0"]
    assert "2.4.0" not in (ROOT / "utils" / SCRIPT).read_text()


@pytest.mark.slow
def test_a_real_pipeline_runs_in_this_environment(tmp_path):
    if not Path(sys.prefix, "installed-dali").exists():
        pytest.skip(f"utils/install_dali.sh has not installed DALI in {sys.prefix}")
    done = subprocess.run(
        ["bash", ROOT / "utils" / SCRIPT, "--prove", sys.executable],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "a pipeline runs in a graph" in done.stderr
