"""What all attempts need, imported once: each is forked from a process that has loaded this."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

from utils.system.native_messages import without_chatter

with without_chatter(3):
    from tests.runtime import runs  # noqa: F401
from tools.convert import __main__ as convert  # noqa: F401
from tools.validate import __main__ as validate  # noqa: F401
