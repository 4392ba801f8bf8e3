"""The environment variables that TensorFlow and the libraries below it should find when they are imported.

Imports no TensorFlow, and changes nothing: ``main.py`` applies what ``environment_for`` returns.
"""

from __future__ import annotations

from collections.abc import Mapping

from utils.config import ExperimentConfig
from utils.flags.environment_variables import TF32_VARIABLE, XLA_VARIABLE, auto_jit

LOG_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
_MPI_SETTINGS = {"OMPI_MCA_mpi_yield_when_idle": "1"}
_GPU_SETTINGS = {
    "CUDA_CACHE_DISABLE": "0",
    "TF_GPU_THREAD_MODE": "gpu_private",
    "TF_GPU_THREAD_COUNT": "2",
    "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT": "1",
    "TF_ENABLE_WINOGRAD_NONFUSED": "1",
    "TF_SYNC_ON_FINISH": "0",
}


def environment_for(config: ExperimentConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables to set before TensorFlow is imported; never one that ``environ`` has, save ``TF_XLA_FLAGS``, merged.

    On GPUs: kernels compiled for the card are cached on disk, each GPU has two launch threads of its own, batch norm
    uses cuDNN's persistent kernels, convolutions may use Winograd's non-fused form, and a step ends without waiting for
    what nobody fetches.

    Under Open MPI a process that waits for the others lets its CPU be used: Horovod's thread waits in every cycle, and
    would take it from the network where as many processes as CPUs compute.

    Left out of what programs of this family used to set, and why: ``HOROVOD_GPU_ALLREDUCE`` is read when Horovod is
    built, not when it runs; ``TF_ADJUST_HUE_FUSED`` and ``TF_ADJUST_SATURATION_FUSED`` concern color distortion, which
    is not done; ``TF_DISABLE_NVTX_RANGES`` and ``TF_ENABLE_AUTO_MIXED_PRECISION*`` were read by NVIDIA's builds alone
    (``utils/flags/environment_variables.py`` reads the latter); ``TF_AUTOTUNE_THRESHOLD`` is documented nowhere for
    current TensorFlow; ``--tf_xla_enable_lazy_compilation=false`` was set even without XLA, and its default is kept.
    """
    # Errors that matter come as exceptions; what is logged as an error besides (2.21 logs one of its own making when a
    # map inside a map is optimized) only frightens.
    wanted = {LOG_VARIABLE: "0" if config.run.log_level == "debug" else "3"} | _MPI_SETTINGS
    if config.run.cpu:
        wanted["CUDA_VISIBLE_DEVICES"] = "-1"
    else:
        wanted |= _GPU_SETTINGS
    if config.run.deterministic:
        wanted["TF_DETERMINISTIC_OPS"] = "1"
    if not config.precision.tf32:
        wanted[TF32_VARIABLE] = "0"
    chosen = {name: value for name, value in wanted.items() if name not in environ}
    if config.precision.xla:
        chosen |= _xla_flags(environ)
    return chosen


def native_log_level(environ: Mapping[str, str]) -> int:
    """The level in the environment as TensorFlow reads it: 0 where there is none, or no number."""
    level = environ.get(LOG_VARIABLE, "")
    return int(level) if level.isdecimal() else 0


def _xla_flags(environ: Mapping[str, str]) -> dict[str, str]:
    """``TF_XLA_FLAGS`` with what ``--xla`` needs added behind the user's own flags, where the last one counts.

    Without ``--tf_xla_cpu_global_jit`` TensorFlow leaves operations on a CPU out of its XLA clusters, whatever the
    session asks for. A jit level of -1 in the variable would switch XLA off against the flag; 0 hands the decision back
    to the session.
    """
    present = environ.get(XLA_VARIABLE, "").split()
    added = []
    if not any("tf_xla_cpu_global_jit" in flag for flag in present):
        added.append("--tf_xla_cpu_global_jit=true")
    if auto_jit(environ) == "-1":
        added.append("--tf_xla_auto_jit=0")
    return {XLA_VARIABLE: " ".join([*present, *added])} if added else {}
