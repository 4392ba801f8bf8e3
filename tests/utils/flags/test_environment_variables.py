"""Environment variables that stand for flags."""

import pytest

from utils.errors import UsageError
from utils.flags.environment_variables import AMP_VARIABLES, RequestedPrecision, combine

AMP, REWRITE = AMP_VARIABLES
SCALING = "TF_ENABLE_AUTO_MIXED_PRECISION_LOSS_SCALING"


def ask(environ, *, amp=False, xla=False, no_tf32=False, static_scale=None):
    return combine(amp=amp, xla=xla, no_tf32=no_tf32, static_scale=static_scale, environ=environ)


def asked(*notes, amp=False, loss_scaling=True, xla=False, tf32=True):
    return RequestedPrecision(amp, loss_scaling, xla, tf32, notes)


@pytest.mark.parametrize(
    ("environ", "flags", "expected"),
    [
        ({}, {}, asked()),
        ({"PATH": "/bin"}, {"amp": True, "xla": True, "no_tf32": True}, asked(amp=True, xla=True, tf32=False)),
        ({AMP: "1"}, {}, asked(f"{AMP}=1 means --amp", amp=True)),
        ({REWRITE: "1"}, {}, asked(f"{REWRITE}=1 means --amp", amp=True)),
        ({AMP: "True"}, {}, asked(f"{AMP}=True means --amp", amp=True)),
        ({AMP: "1"}, {"amp": True}, asked(amp=True)),
        ({AMP: "0"}, {}, asked()),
        ({AMP: ""}, {"amp": True}, asked(amp=True)),
        ({AMP: "0"}, {"amp": True}, asked(f"--amp wins over {AMP}=0", amp=True)),
        ({REWRITE: "false"}, {"amp": True}, asked(f"--amp wins over {REWRITE}=false", amp=True)),
        ({AMP: "1", REWRITE: "0"}, {}, asked(f"{AMP}=1 wins over {REWRITE}=0", f"{AMP}=1 means --amp", amp=True)),
        (
            {SCALING: "0"},
            {"amp": True},
            asked(f"{SCALING}=0: mixed precision runs without loss scaling", amp=True, loss_scaling=False),
        ),
        ({SCALING: "0"}, {}, asked()),
        ({SCALING: "1"}, {"amp": True}, asked(amp=True)),
        (
            {SCALING: "0"},
            {"amp": True, "static_scale": 128.0},
            asked(f"--static_loss_scale 128 wins over {SCALING}=0", amp=True),
        ),
        ({"TF_XLA_FLAGS": "--tf_xla_cpu_global_jit"}, {}, asked()),
        (
            {"TF_XLA_FLAGS": "--tf_xla_clustering_debug --tf_xla_auto_jit=2"},
            {},
            asked("--tf_xla_auto_jit=2 in TF_XLA_FLAGS means --xla", xla=True),
        ),
        (
            {"TF_XLA_FLAGS": "-tf_xla_auto_jit=1"},
            {},
            asked("--tf_xla_auto_jit=1 in TF_XLA_FLAGS means --xla", xla=True),
        ),
        (
            {"TF_XLA_FLAGS": "--tf_xla_auto_jit=fusible(1)"},
            {},
            asked("--tf_xla_auto_jit=fusible(1) in TF_XLA_FLAGS means --xla", xla=True),
        ),
        ({"TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}, {"xla": True}, asked(xla=True)),
        ({"TF_XLA_FLAGS": "--tf_xla_auto_jit=0"}, {}, asked()),
        ({"TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_auto_jit=-1"}, {}, asked()),
        (
            {"TF_XLA_FLAGS": "--tf_xla_auto_jit=-1"},
            {"xla": True},
            asked("--xla wins over --tf_xla_auto_jit=-1 in TF_XLA_FLAGS", xla=True),
        ),
        ({"NVIDIA_TF32_OVERRIDE": "0"}, {}, asked("NVIDIA_TF32_OVERRIDE=0 means --no_tf32", tf32=False)),
        ({"NVIDIA_TF32_OVERRIDE": "0"}, {"no_tf32": True}, asked(tf32=False)),
        ({"NVIDIA_TF32_OVERRIDE": "1"}, {}, asked()),
    ],
)
def test_variables_and_flags_ask_together(environ, flags, expected):
    assert ask(environ, **flags) == expected


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({AMP: "yes"}, f"{AMP}=yes: must be 0, 1, true or false"),
        ({REWRITE: "2"}, f"{REWRITE}=2: must be 0, 1, true or false"),
        ({SCALING: "off"}, f"{SCALING}=off: must be 0, 1, true or false"),
        (
            {"TF_XLA_FLAGS": "--tf_xla_auto_jit=on"},
            "TF_XLA_FLAGS=--tf_xla_auto_jit=on: --tf_xla_auto_jit must be -1, 0, 1, 2, fusible, fusible(1), "
            "fusible(2), single-gpu(1) or single-gpu(2)",
        ),
    ],
)
def test_a_value_that_means_nothing_names_its_variable(environ, message):
    with pytest.raises(UsageError) as error:
        ask(environ)
    assert str(error.value) == message
