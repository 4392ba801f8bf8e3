"""TensorFlow is imported without Keras, which libraries that need it can still import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import os, sys
from runtime.tensorflow_import import load_tensorflow
load_tensorflow()
assert "tensorflow" in sys.modules
assert not {"keras", "matplotlib", "sklearn"} & sys.modules.keys()
assert "TF_USE_LEGACY_KERAS" not in os.environ
import tensorflow
assert tensorflow.keras.layers.Layer  # as Horovod does
"""


@pytest.mark.slow
def test_tensorflow_is_imported_without_keras_which_can_be_imported_later():
    environ = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
