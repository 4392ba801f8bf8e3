"""The description of weights: its required contents and the error messages."""

import dataclasses
import json

import pytest

from model.specs import QuantizationSpec
from utils.detection_config import AnchorSpec, BoxCoderSpec
from utils.errors import RunError
from utils.weights.description import parse_description

CLASSIFIER = {
    "task": "classification",
    "architecture": "resnet50",
    "num_classes": 3,
    "image_size": 224,
    "label_offset": 1,
    "class_names": ["a", "b", "c"],
    "data_class_names": None,
    "quantization": dataclasses.asdict(QuantizationSpec(symmetric=True)),
    "preprocessing": {"mean_rgb": [1, 2, 3]},
    "network": {"padding": None},
    "step": 5,
    "seed": -3,
    "position": {"epoch": 1, "example": 0},
    "best": {"step": 5, "value": 0.5, "evaluations_since": 0},
    "evaluation": {"loss": 1.0},
    "convolutions": {"4 x 8 x 8 x 3, ...": ["native", "native", "taps"]},
    "something": object.__name__,
}
DETECTOR = {
    "task": "detection",
    "class_names": ["cat", "dog"],
    "category_ids": [1, 4],
    "anchors": dataclasses.asdict(AnchorSpec()),
    "coder": dataclasses.asdict(BoxCoderSpec()),
    "artefact": {"format": "onnx", "precision": "int8"},
    "image_size": [128, 192],
    "resize": "pad",
    "norm": "group",
    "heads": {"distribution": True, "centerness": False},
}


@pytest.mark.parametrize("description", [CLASSIFIER, DETECTOR, {}])
def test_what_runs_write_is_read_as_it_is(description):
    assert parse_description(json.dumps(description), "x") == json.loads(json.dumps(description))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_classes": "3"}, "\"num_classes\" is '3', and must be a whole number"),
        ({"num_classes": 0}, '"num_classes" is 0, and must be 1 or more'),
        ({"image_size": -4}, '"image_size" is -4, and must be 1 or more'),
        (
            {"image_size": [0, 64], "task": "detection"},
            '"image_size" is [0, 64], and must be a height and a width of 1 or more',
        ),
        (
            {"image_size": [64], "task": "detection"},
            '"image_size" is [64], and must be a height and a width of 1 or more',
        ),
        (
            {"image_size": [64, "9"], "task": "detection"},
            "\"image_size\" contains '9'; every value of the list must be a whole number",
        ),
        ({"image_size": [64, 96], "task": "classification"}, '"image_size" is [64, 96], and must be a whole number'),
        ({"resize": "crop"}, "\"resize\" is 'crop', and must be one of stretch, pad"),
        ({"norm": "layer"}, "\"norm\" is 'layer', and must be one of batch, group"),
        ({"class_names": 5}, '"class_names" is 5, and must be a list'),
        ({"class_names": "abc"}, "\"class_names\" is 'abc', and must be a list"),
        ({"class_names": ["a", 1]}, '"class_names" contains 1; every value of the list must be text'),
        ({"task": 1}, '"task" is 1, and must be text'),
        ({"task": "poetry"}, "\"task\" is 'poetry', and must be one of classification, detection"),
        ({"architecture": "resnet5O"}, "\"architecture\" is 'resnet5O', and must be one of resnet18, resnet34, "),
        ({"backbone": "vgg"}, "\"backbone\" is 'vgg', and must be one of"),
        ({"network": 5}, '"network" is 5, and must be an object'),
        ({"convolutions": []}, '"convolutions" is [], and must be an object'),
        ({"convolutions": {"key": "native"}}, "\"key\" is 'native', and must be a list"),
        ({"quantization": True}, '"quantization" is True, and must be an object'),
        ({"quantization": {"x": 1}}, "\"quantization\" contains 'x', and must contain only symmetric, qdq, delay"),
        ({"quantization": {"qdq": 1}}, '"qdq" of "quantization" is 1, and must be true or false'),
        ({"quantization": {"delay": 1.5}}, '"delay" is 1.5, and must be a whole number'),
        ({"anchors": {"scale": "4"}}, "\"scale\" is '4', and must be a number"),
        ({"heads": {"centerness": 1}}, '"centerness" of "heads" is 1, and must be true or false'),
        ({"anchors": {"aspect_ratios": [1, None]}}, '"aspect_ratios" contains None'),
        ({"step": "x"}, "\"step\" is 'x', and must be a whole number"),
        ({"seed": "x"}, "\"seed\" is 'x', and must be a whole number"),
        ({"position": 4}, '"position" is 4, and must be an object'),
        ({"position": {"epoch": 1}}, '"example" is missing, and must be a whole number'),
        ({"best": {"step": 5, "value": "x", "evaluations_since": 0}}, "\"value\" is 'x', and must be a number"),
        ({"category_ids": [1, 2]}, '"category_ids" has 2 ids, and must have as many as "class_names"'),
        ({"artefact": {"precision": "int3"}}, "\"precision\" is 'int3', and must be one of float32, "),
    ],
)
def test_what_cannot_be_is_a_sentence(change, words):
    with pytest.raises(RunError) as refused:
        parse_description(json.dumps(CLASSIFIER | change), "w.json")
    assert str(refused.value).startswith(f"w.json: {words}")
    assert str(refused.value).endswith("; the description of the weights is damaged")


@pytest.mark.parametrize(
    ("text", "words"),
    [(b"{", "is not valid JSON"), (b"\xff", "is not valid JSON"), ("[1]", "holds no JSON object")],
)
def test_what_is_no_json_object_is_a_sentence(text, words):
    with pytest.raises(RunError, match=f"^w.json: {words}"):
        parse_description(text, "w.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{\n<<<<<<< HEAD\n"step": 1\n=======\n"step": 2\n>>>>>>> theirs\n}', "a conflict marker of git in line 2"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a git-lfs pointer"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"", "is empty"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"a": ' * 100_000, "is nested too deeply"),
        (b'{"step": 1', "is not valid JSON"),
    ],
)
def test_what_is_no_json_is_told_by_its_reason(text, words):
    with pytest.raises(RunError, match=rf"^beside: .*{words}.*; the meaning of the weights is unknown") as told:
        parse_description(text, "beside")
    assert len(str(told.value)) < 300
