"""The environment variables that TensorFlow and the libraries below it should find when they are imported.

Imports no TensorFlow, and changes nothing: ``main.py`` applies what ``environment_for`` returns.
"""

from __future__ import annotations

from collections.abc import Mapping

from utils.config import ExperimentConfig
from utils.environment_flags import TF32_VARIABLE, XLA_VARIABLE, auto_jit

_GPU_SETTINGS = {
    "CUDA_CACHE_DISABLE": "0",
    "TF_GPU_THREAD_MODE": "gpu_private",
    "TF_GPU_THREAD_COUNT": "2",
    "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT": "1",
    "TF_ENABLE_WINOGRAD_NONFUSED": "1",
}


def environment_for(config: ExperimentConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables to set before TensorFlow is imported; never one that ``environ`` has, save ``TF_XLA_FLAGS``, merged.

    On GPUs: kernels compiled for the card are cached on disk, each GPU has two launch threads of its own, batch norm
    uses cuDNN's persistent kernels, and convolutions may use Winograd's non-fused form.

    Left out of what programs of this family used to set, and why: ``HOROVOD_GPU_ALLREDUCE`` is read when Horovod is
    built, not when it runs; ``TF_ADJUST_HUE_FUSED`` and ``TF_ADJUST_SATURATION_FUSED`` concern color distortion, which
    is not done; ``TF_SYNC_ON_FINISH=0`` is the default on GPUs; ``TF_AUTOTUNE_THRESHOLD`` and
    ``TF_DISABLE_NVTX_RANGES`` belong to builds of TensorFlow 1; ``TF_ENABLE_AUTO_MIXED_PRECISION*`` is read by no stock
    TensorFlow (``utils/environment_flags.py`` reads it instead); ``--tf_xla_enable_lazy_compilation=false`` without XLA
    has no effect.
    """
    wanted = {"TF_CPP_MIN_LOG_LEVEL": "0" if config.run.log_level == "debug" else "2"}
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


def _xla_flags(environ: Mapping[str, str]) -> dict[str, str]:
    """``TF_XLA_FLAGS`` with what ``--xla`` needs added behind the user's own flags.

    Without ``--tf_xla_cpu_global_jit`` TensorFlow leaves operations on a CPU out of its XLA clusters, whatever the
    session asks for. A jit level of -1 in the variable would switch XLA off against the flag; 0 hands the decision back
    to the session. Lazy compilation would run the first steps uncompiled and so blur a benchmark's warm-up.
    """
    present = environ.get(XLA_VARIABLE, "")
    added = [
        f"--{name}={value}"
        for name, value in (("tf_xla_cpu_global_jit", "true"), ("tf_xla_enable_lazy_compilation", "false"))
        if name not in present
    ]
    if auto_jit(environ) == "-1":
        added.append("--tf_xla_auto_jit=0")
    return {XLA_VARIABLE: " ".join([*present.split(), *added])} if added else {}
