"""The environment variables to set before TensorFlow and the libraries below it are imported.

Imports no TensorFlow and changes nothing; ``runtime/tensorflow_import.py`` applies the results.
"""

from __future__ import annotations

from collections.abc import Mapping

from utils.config import ExperimentConfig
from utils.flags.environment_variables import TF32_VARIABLE, XLA_VARIABLE, auto_jit
from utils.system.machine import is_x86

LOG_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
# Errors that matter are exceptions. Other logged errors are misleading: 2.21 logs one about its own optimization of a
# map inside a map.
_NOTHING, _EVERYTHING = "3", "0"
# By itself, TensorFlow (2.21) uses oneDNN only on x86 CPUs with AVX-512 VNNI or later instructions for networks.
# Without it, a CPU has no convolution in groups or in NCHW, and others are slow.
_X86_SETTINGS = {"TF_ENABLE_ONEDNN_OPTS": "1"}
_MPI_SETTINGS = {"OMPI_MCA_mpi_yield_when_idle": "1"}
_GPU_SETTINGS = {
    "CUDA_CACHE_DISABLE": "0",
    "TF_GPU_THREAD_MODE": "gpu_private",
    "TF_GPU_THREAD_COUNT": "2",
    "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT": "1",
    "TF_ENABLE_WINOGRAD_NONFUSED": "1",
    "TF_SYNC_ON_FINISH": "0",
}

_DETERMINISTIC_SETTINGS = {"TF_DETERMINISTIC_OPS": "1", "HOROVOD_FUSION_THRESHOLD": "0"}
_SYNC_BATCH_NORM_SETTINGS = {"HOROVOD_CYCLE_TIME": "0.1"}


def environment_for(config: ExperimentConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables to set before importing TensorFlow; none is in ``environ``, except a merged ``TF_XLA_FLAGS``.

    On x86 CPUs, TensorFlow computes with oneDNN.

    On GPUs, kernels compiled for the card are cached on disk, each GPU has two launch threads of its own, batch norm
    uses cuDNN's persistent kernels, convolutions may use the non-fused Winograd algorithm, and a step does not wait for
    tensors that are not fetched.

    Horovod merges tensors that are ready at the same time, which changes the order of their sums from run to run.
    Gradients are joined before they reach it (``average_gradients``), so that a deterministic run merges nothing else.
    Horovod looks for ready tensors once in a cycle of 1 ms. Each synchronized batch normalization waits for it in both
    directions, one layer after the other, so such a run has a shorter cycle, except with ``--cpu``: there the cycles
    themselves take CPU time from the network.

    Under Open MPI, a waiting process yields its CPU. Horovod's thread waits in every cycle and would otherwise take CPU
    time from the network if there are as many processes as CPUs.

    Programs of this family used to set more variables. Left out are ``HOROVOD_GPU_ALLREDUCE``, which matters when
    Horovod is built, not when it runs; ``TF_ADJUST_HUE_FUSED`` and ``TF_ADJUST_SATURATION_FUSED``, which concern color
    distortion that is not done here; ``TF_DISABLE_NVTX_RANGES`` and ``TF_ENABLE_AUTO_MIXED_PRECISION*``, which only
    NVIDIA's builds read (``utils/flags/environment_variables.py`` reads the latter); ``TF_AUTOTUNE_THRESHOLD``, which
    is undocumented for current TensorFlow; and ``--tf_xla_enable_lazy_compilation=false``, which was set even without
    XLA, so its default is kept.
    """
    wanted = _settings_of_all(_EVERYTHING if config.run.log_level == "debug" else _NOTHING) | _MPI_SETTINGS
    if config.run.cpu:
        wanted["CUDA_VISIBLE_DEVICES"] = "-1"
    else:
        wanted |= _GPU_SETTINGS | (_SYNC_BATCH_NORM_SETTINGS if config.distributed.sync_batch_norm else {})
    if config.run.deterministic:
        wanted |= _DETERMINISTIC_SETTINGS
    if not config.precision.tf32:
        wanted[TF32_VARIABLE] = "0"
    chosen = _missing(wanted, environ)
    if config.precision.xla:
        chosen |= _xla_flags(environ)
    return chosen


def environment_of_tool(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables to set before a tool without a run of its own imports TensorFlow."""
    return _missing(_settings_of_all(_NOTHING), environ)


def _settings_of_all(log_level: str) -> dict[str, str]:
    """The variables that every program sets."""
    return {LOG_VARIABLE: log_level} | (_X86_SETTINGS if is_x86() else {})


def _missing(wanted: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in wanted.items() if name not in environ}


def native_log_level(environ: Mapping[str, str]) -> int:
    """The log level in the environment; 0 if it is missing or not a number."""
    level = environ.get(LOG_VARIABLE, "")
    return int(level) if level.isdecimal() else 0


def _xla_flags(environ: Mapping[str, str]) -> dict[str, str]:
    """``TF_XLA_FLAGS`` with a flag for ``--xla`` appended to the user's own, if those would disable XLA.

    A jit level of -1 in the variable would override the flag; 0 leaves the decision to the session.
    """
    present = environ.get(XLA_VARIABLE, "").split()
    return {XLA_VARIABLE: " ".join([*present, "--tf_xla_auto_jit=0"])} if auto_jit(environ) == "-1" else {}
