"""main.py with tiny networks, for tests that need a process of their own: python -m tests.runtime.tiny_main FLAGS."""

import os
import sys

import main
from utils.cmdline_helper import parse

if __name__ == "__main__":
    from runtime.environment import environment_for, native_log_level
    from utils.system.native_messages import without_chatter

    os.environ.update(environment_for(parse(sys.argv[1:], os.environ).config, os.environ))  # before TensorFlow's import
    with without_chatter(native_log_level(os.environ)):
        from tests.runtime.runs import tiny_networks

    with tiny_networks():
        sys.exit(main.main(sys.argv[1:]))
