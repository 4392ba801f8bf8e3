"""main.py with tiny networks, for tests that need a process of their own: python -m tests.runtime.tiny_main FLAGS."""

import os
import sys

import main
from utils.cmdline_helper import parse
from utils.program import begin

if __name__ == "__main__":
    begin()
    from runtime.environment import environment_for
    from runtime.tensorflow_import import load_tensorflow

    load_tensorflow(environment_for(parse(sys.argv[1:], os.environ).config, os.environ))
    from tests.runtime.runs import tiny_networks

    with tiny_networks():
        sys.exit(main.main(sys.argv[1:]))
