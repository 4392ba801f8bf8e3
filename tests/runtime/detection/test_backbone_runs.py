"""A detector on another backbone is trained, evaluated, used and exported as its weights say."""

import json

import pytest

from tests.runtime.runs import network, run, values
from tests.runtime.scenes import picture_of, scene, write_scenes

BACKBONE = "se-resnext50-32x4d"  # groups, squeeze-and-excitation and dense layers
SIZES = ("--image_size=64", "--batch_size=2", "--seed=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes in ``data``, and in ``run`` a detector trained with quantization."""
    folder = tmp_path_factory.mktemp("backbone")
    data = write_scenes(folder / "data")
    given = (f"--backbone={BACKBONE}", "--quantize", "--iter_unit=batch", "--num_iter=1", *SIZES)
    finished = run(*network(data, folder / "run", "train", "ssd320"), *given)
    assert finished.status == 0, finished.error
    return folder


def test_blocks_with_groups_and_gates_train_quantized_under_the_backbones_name(folder):
    stored = values(folder / "run" / "model.ckpt-1")
    scope = f"FeatureExtractor/{BACKBONE}"
    assert f"{scope}/btlnck_block_0_0/bottleneck_2/bottleneck_2group_filter" in stored
    assert stored[f"{scope}/btlnck_block_0_0/bottleneck_se_layer/dense/act_quant/max"] != 6.0
    assert f"{scope}/fpn/projection_1/weights" in stored
    assert json.loads((folder / "run" / "model.ckpt-1.json").read_text())["backbone"] == BACKBONE


@pytest.mark.slow
def test_evaluation_export_and_prediction_follow_the_weights(folder, tmp_path):
    given = (f"--model_dir={folder / 'run'}", f"--data_dir={folder / 'data'}", "--batch_size=2")
    again = run("--mode=evaluate", *given, f"--results_dir={tmp_path / 'e'}", f"--export_dir={tmp_path / 'export'}")
    assert again.status == 0, again.error
    assert again.parameters["backbone"] == BACKBONE
    (exported,) = (path for path in (tmp_path / "export").iterdir() if path.name.isdigit())
    (tmp_path / "scene.png").write_bytes(picture_of(scene(1000), 1000))
    scores = []
    for model in (folder / "run", exported):
        results = tmp_path / f"predictions{len(scores)}"
        given = (f"--model_dir={model}", f"--to_predict={tmp_path / 'scene.png'}", f"--results_dir={results}")
        predicted = run("--mode=predict", *given, "--batch_size=1", "--min_score=0")
        assert predicted.status == 0, predicted.error
        rows = json.loads((results / "predictions.json").read_text())
        scores.append([found["score"] for found in rows[0]["predictions"]])
    assert len(scores[0]) > 1
    assert scores[1] == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize("mode", ["evaluate", "train"])
def test_another_backbone_than_that_of_the_weights_is_refused(mode, folder, tmp_path):
    if mode == "train":
        flags = network(folder / "data", folder / "run", mode, "ssd320")
    else:
        flags = (*network(folder / "data", tmp_path, mode, "ssd320"), f"--model_dir={folder / 'run'}")
    refused = run(*flags, "--backbone=resnet18", *SIZES)
    assert refused.status == 2
    assert f"--backbone resnet18: the checkpoint was trained with {BACKBONE}; leave --backbone out" in refused.error
