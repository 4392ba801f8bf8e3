"""The contestants in PyTorch, in the environment that ORACLE_PYTHON names; without it these tests are skipped."""

import os

import pytest

from tools.measure.compare import turns
from tools.measure.compare.cells import cell_of
from tools.measure.compare.line_up import Hall, entrants
from tools.measure.compare.turns import Contestant, Match, disagreements

SIZES = {"batch": 2, "image_size": 64, "threads": 1}


@pytest.fixture
def hall(tmp_path, monkeypatch):
    named = os.environ.get("ORACLE_PYTHON")
    if not named:
        pytest.skip("ORACLE_PYTHON names no interpreter with torch and timm")
    monkeypatch.setattr(turns, "SHORTEST_TURN_S", 0.0)
    hall = Hall(tmp_path, 1, named)
    assert {"torch", "timm"} <= {*hall.peers["versions"]}, hall.peers["errors"]
    return hall


def contest(hall, **descriptions):
    """Gives each a turn and returns the scores."""
    with Match(1) as match:
        for name, description in descriptions.items():
            match.enter(Contestant(name=name, command=tuple(hall.theirs(**description)), peer=True), 1)
        match.play(1)
    assert match.died == {}
    return match.scores


def test_timm_infers_and_trains_eager_and_compiled_in_both_types(hall):
    network = {"arch": "resnet18", **SIZES}
    scores = contest(
        hall,
        eager={"entry": "infer", "precision": "bfloat16", "compiled": False, **network},
        compiled={"entry": "infer", "precision": "float32", "compiled": True, **network},
        training={"entry": "train", "precision": "bfloat16", "compiled": False, **network},
    )
    assert [score.facts["precision"] for score in scores.values()] == ["bfloat16", "float32", "bfloat16"]
    assert scores["eager"].facts["output"] == [2, 1001]
    assert disagreements(scores.values()) == {}


def test_a_script_predicts_one_image(hall):
    (script,) = (one for one in entrants(cell_of("resnet18-predict"), hall) if one.peer)
    with Match(1) as match:
        match.enter(Contestant(name=script.name, command=tuple(script.command()), peer=True), 1)
    assert match.died == {}


def test_retinanet_and_the_loader_run_where_torchvision_does(hall):
    if reason := hall.lack("torchvision"):
        pytest.skip(reason)
    images = hall.folder / "images"
    images.mkdir()
    for number in range(4):
        (images / str(number)).write_bytes(hall.photograph().read_bytes())
    contest(
        hall,
        detection={"entry": "detector", "what": "infer", "precision": "float32", **SIZES},
        training={"entry": "detector", "what": "train", "precision": "float32", **SIZES},
        loader={"entry": "loader", "folder": str(images), **SIZES},
    )
