"""Imported networks of timm and torchvision give the same outputs on photographs as those libraries.

torch, timm and safetensors live in an environment of their own, see ``tests/model/test_timm_oracle.py``; ORACLE_PYTHON
names its interpreter. Without it or the photographs, these tests are skipped; without torchvision in it, only the test
of torchvision's network is.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from model.specs import RESNETS
from runtime.setup.set_up import set_up
from tools import import_weights
from tools.measure.compare.timm_network import timm_name
from utils.cmdline_helper import parse
from utils.hvd_utils import SerialCommunicator
from utils.image_processing import eval_preprocess
from utils.images.image_files import load_rgb
from utils.weights.checkpoint_contents import load_matched, match_variables

tf1 = tf.compat.v1
SCRIPT = Path(__file__).parent / "oracle_side.py"
PHOTOGRAPHS = 8
SIZE = 224
TOLERANCE = 1e-4
NETWORKS = (
    *((timm_name(name), name, "weights.safetensors") for name in RESNETS),
    ("torchvision/resnet18", "resnet18", "weights.pth"),
    ("torchvision/resnet50", "resnet50", "weights.pth"),
    ("legacy_seresnext50_32x4d", "se-resnext50-32x4d", "weights.pth"),
    ("legacy_seresnext101_32x4d", "se-resnext101-32x4d", "weights.pth"),
)


@pytest.fixture(scope="module")
def oracle():
    """The interpreter with torch, timm and safetensors."""
    named = os.environ.get("ORACLE_PYTHON")
    check = subprocess.run([named or sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    if check.returncode:
        reason = check.stderr.strip().splitlines()[-1]
        pytest.skip(f"no torch, timm and safetensors (ORACLE_PYTHON): {reason}")
    return named or sys.executable


@pytest.fixture(scope="module")
def pixels(sample_data, tmp_path_factory):
    """Photographs preprocessed as in evaluation, in 0..255."""
    files = sorted((sample_data / "clothing" / "validation").glob("*/*"))
    chosen = files[:: len(files) // PHOTOGRAPHS][:PHOTOGRAPHS]
    with tf.Graph().as_default(), tf1.Session() as session:
        encoded = tf1.placeholder(tf.string)
        image = eval_preprocess(encoded, SIZE)
        path = tmp_path_factory.mktemp("oracle") / "pixels.npy"
        np.save(path, np.stack([session.run(image, {encoded: load_rgb(file).data}) for file in chosen]))
    return path


def our_logits(folder, pixels):
    """The logits that this program computes from a checkpoint and its description."""
    command = parse(["--mode=predict", f"--to_predict={pixels}", f"--model_dir={folder}", "--cpu"], {})
    setup = set_up(command.config, SerialCommunicator())
    with tf.Graph().as_default(), tf1.Session() as session:
        network = setup.task.network
        endpoints = network.forward(network.normalize(tf.constant(np.load(pixels))), training=False)
        variables = tf1.global_variables()
        match = match_variables(setup.checkpoint, variables, network.stored_names)
        assert not match.missing
        load_matched(session, tf1.train.Saver(variables), variables, match)
        return session.run(endpoints["logits"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "architecture", "file"), NETWORKS, ids=[name for name, *_ in NETWORKS])
def test_imported_weights_give_the_same_logits_and_the_same_five_best(
    oracle, pixels, tmp_path, name, architecture, file
):
    if name.startswith("torchvision/") and subprocess.run([oracle, "-c", "import torchvision"], check=False).returncode:
        pytest.skip(f"{oracle} has no torchvision")
    subprocess.run([oracle, SCRIPT, name, pixels, tmp_path], check=True, timeout=900)
    assert import_weights.main([str(tmp_path / file), str(tmp_path / "out"), f"--arch={architecture}"]) == 0
    expected = np.load(tmp_path / "logits.npy")
    found = our_logits(tmp_path / "out", pixels)
    for weights in [*tmp_path.glob("weights.*"), *(tmp_path / "out").glob("*.data*")]:
        weights.unlink()  # pytest keeps its folders, and these are large
    difference = float(np.abs(found - expected).max())
    print(f"\n{name}: {found.shape} logits of deviation {expected.std():.2f} differ by {difference:.1e} at most")
    assert expected.std() > 0.3  # the logits vary enough for a meaningful comparison
    assert difference < TOLERANCE * max(1.0, np.abs(expected).max())
    np.testing.assert_array_equal(*(np.argsort(-logits, axis=1)[:, :5] for logits in (found, expected)))
