"""The recipe of Horovod's wheel: edits of its source and compile targets."""

import pytest

from tests.utils.shell.fake_environment import Environment

SCRIPT = "install_horovod.sh"


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path)


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
    assert "Horovod 0.28.1: horovod/runner/js_run.py is not what utils/shell/horovod_wheel.sh edits" in output
    assert (environment.wheels(), environment.left_over()) == ([], [])
