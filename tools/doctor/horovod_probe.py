"""Probe of Horovod: two processes under a launcher average a number (no TF)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.doctor.probe import Missing, ProbeResult, version_of
from utils.errors import RunError

ROOT = Path(__file__).resolve().parent.parent.parent
HOW = "`bash utils/install_horovod.sh` installs it; several machines need it"
SECONDS = 170.0  # some 20 on a quiet machine, more than 100 on a busy one

# Variables that a launcher sets for the processes it starts; a launcher may have started this program.
_LAUNCHER_VARIABLES = re.compile(r"OMPI_(COMM|UNIVERSE)_|PMIX?_|SLURM_|HOROVOD_(RANK|SIZE|LOCAL_|CROSS_|CONTROLLER)")
_PROOF = """
import os
import numpy as np
import tensorflow as tf
from utils.hvd_utils import communicator
tf1 = tf.compat.v1
processes = communicator(os.environ)
with tf.Graph().as_default(), tf1.Session() as session:
    mean = session.run(processes.average(tf.constant([float(processes.rank)])))[0]
assert processes.size == 2 and mean == 0.5 and processes.gather(processes.rank) == [0, 1], (processes.size, mean)
os.write(1, f"rank {processes.rank} agrees\\n".encode())
"""


def horovod() -> ProbeResult:
    """Two processes on the CPU average one number and exchange another."""
    version = version_of("horovod", how=HOW)
    name, command = launcher(os.environ.get("PATH", ""))
    try:
        done = run_program([*command, sys.executable, "-c", _PROOF], SECONDS, CUDA_VISIBLE_DEVICES="")
    except subprocess.TimeoutExpired as error:
        raise RunError(f"two processes under {name} did not end within {SECONDS:g} s") from error
    agreed = set(re.findall(r"rank [01] agrees", done.stdout))
    if done.returncode or len(agreed) < 2:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        telling = [line for line in lines if "Error" in line] or lines or ["no output"]
        raise RunError(f"two processes under {name} ended with status {done.returncode}: {telling[-1]}")
    return ProbeResult(f"{version}, two processes under {name} agree", {"version": version, "launcher": name})


def launcher(path: str, processes: int = 2) -> tuple[str, list[str]]:
    """The name of a launcher beside this interpreter or on the ``PATH``, and its command for some processes.

    Raises:
        Missing: There is none.
    """
    places = os.pathsep.join([str(Path(sys.executable).parent), path])
    mpi = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", str(processes)]
    for name, flags in (("mpiexec", mpi), ("horovodrun", ["--gloo", "-np", str(processes)])):
        found = shutil.which(name, path=places)
        if found:
            return name, [found, *flags]
    raise Missing(f"found neither mpiexec nor horovodrun to start processes with; {HOW}")


def run_program(command: Sequence[str], seconds: float, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the project's root and ``own_environment``, with further variables, and captures its output.

    Raises:
        subprocess.TimeoutExpired: It takes longer than ``seconds``.
    """
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**own_environment(os.environ), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )


def own_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of launched processes, without what another launcher set for this one."""
    kept = {name: value for name, value in environ.items() if not _LAUNCHER_VARIABLES.match(name)}
    return {**kept, "TF_CPP_MIN_LOG_LEVEL": "3", "OMPI_MCA_mpi_yield_when_idle": "1"}
