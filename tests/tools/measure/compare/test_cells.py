import pytest

from tools.measure.compare.cells import TABLE, Cell, cell_of, chosen_cells
from utils.errors import UsageError


def test_a_name_says_network_work_batch_and_type():
    assert cell_of("resnet50-infer-1-bf16") == Cell(
        name="resnet50-infer-1-bf16", what="infer", arch="resnet50", batch=1, precision="bfloat16"
    )
    assert cell_of("se-resnext101-32x4d-train-16-f32-xla") == Cell(
        name="se-resnext101-32x4d-train-16-f32-xla", what="train", arch="se-resnext101-32x4d", batch=16, xla=True
    )
    assert cell_of("resnet18-start") == Cell(name="resnet18-start", what="start", arch="resnet18", batch=16)
    assert cell_of("input-32") == Cell(name="input-32", what="input", batch=32)


def test_sizes_and_units_follow_from_the_network_and_the_work():
    assert (cell_of("ssd320-infer-8-f32").image_size, cell_of("resnet50-infer-8-f32").image_size) == (320, 224)
    units = {name: cell_of(name).unit for name in ("resnet50-predict", "resnet50-start", "input-32", TABLE[0])}
    assert units == {"resnet50-predict": "s", "resnet50-start": "s", "input-32": "images/s", TABLE[0]: "images/s"}


def test_the_table_has_the_cells_of_every_kind_once():
    cells = chosen_cells(TABLE)
    assert [cell.name for cell in cells] == list(TABLE)
    assert len(set(TABLE)) == len(TABLE)
    assert {cell.what for cell in cells} == {"infer", "train", "predict", "start", "input"}
    assert {cell.arch for cell in cells if cell.xla} == {"resnet50", "se-resnext101-32x4d", "ssd320"}


def test_a_cell_that_is_named_twice_is_measured_once():
    assert [cell.name for cell in chosen_cells(["input-32", "resnet50-start", "input-32"])] == [
        "input-32",
        "resnet50-start",
    ]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("resnet50-infer-1-b16", "; did you mean resnet50-infer-1-bf16?"),
        ("resnet50-infer-0-bf16", "; did you mean"),
        ("resnet50-train-16", "; did you mean resnet50-train-16-"),
        ("resnet51-predict", "; did you mean resnet50-predict?"),
        ("everything", "batch size"),
    ],
)
def test_an_unknown_cell_is_refused_with_the_list_and_the_nearest(name, nearest):
    with pytest.raises(UsageError) as raised:
        chosen_cells(["input-32", name])
    assert str(raised.value).startswith(f"--cells {name}: no such cell; known are resnet50-infer-1-bf16, ")
    assert nearest in str(raised.value)


def test_no_cell_is_refused():
    with pytest.raises(UsageError, match="--cells: names no cell"):
        chosen_cells([])
