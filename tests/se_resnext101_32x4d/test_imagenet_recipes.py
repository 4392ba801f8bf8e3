import re

import pytest

from model.specs import QuantizationSpec
from tests.launching import ROOT
from utils.cmdline_helper import build_parser, parse
from utils.flags import recipes
from utils.flags.typed_arguments import complete

FOLDERS = (ROOT / "recipes", ROOT / "se-resnext101-32x4d" / "recipes")
PATHS = {path.name: path for folder in FOLDERS for path in sorted(folder.iterdir())}
ALL = list(PATHS)
NAME = re.compile(r"(?P<arch>.+)_(?P<precision>AMP|FP32|TF32)_(?P<epochs>90|250)E\.args")
IMAGENET = [name for name in ALL if NAME.fullmatch(name)]
ARCHITECTURES = ("resnet50", "resnext101-32x4d", "se-resnext101-32x4d")
BATCH_SIZES = {
    "resnet50": {"AMP": 256, "FP32": 128, "TF32": 256},
    "resnext101-32x4d": {"AMP": 128, "FP32": 64, "TF32": 128},
    "se-resnext101-32x4d": {"AMP": 96, "FP32": 64, "TF32": 128},
}
DATA = ["--data_dir=/data", "--results_dir=/out"]
QUANTIZED = "resnet50_QAT_10E.args"
MODERN = ("A1", "A2", "A3", "V2", "FFCV16", "FFCV88", "small", "ssd320_modern")


def test_there_is_a_recipe_for_each_network_precision_and_length():
    lengths = [("AMP", 90), ("AMP", 250), ("FP32", 90), ("FP32", 250), ("TF32", 90)]
    expected = {f"{arch}_{precision}_{epochs}E.args" for arch in ARCHITECTURES for precision, epochs in lengths}
    assert set(ALL) == expected | {"imagenet.args", QUANTIZED} | {f"{name}.args" for name in MODERN}


@pytest.mark.parametrize("name", IMAGENET)
def test_a_recipe_is_what_its_name_says(name):
    facts = NAME.fullmatch(name)
    command = parse([f"@{PATHS[name]}", *DATA], {})
    settings = command.config
    assert command.notes == ()
    assert settings.model.architecture == facts["arch"]
    assert settings.run.duration.value == int(facts["epochs"])
    assert settings.precision.amp == (facts["precision"] == "AMP")
    assert settings.precision.tf32 == (facts["precision"] != "FP32")
    assert settings.precision.static_loss_scale == (128.0 if facts["precision"] == "AMP" else None)
    assert settings.optimizer.mixup_alpha == (0.2 if facts["epochs"] == "250" else 0.0)
    assert settings.optimizer.weight_decay == (1 / 32768 if facts["arch"] == "resnet50" else 1 / 16384)
    assert settings.data.batch_size_per_replica == BATCH_SIZES[facts["arch"]][facts["precision"]]


@pytest.mark.parametrize("name", IMAGENET)
def test_what_follows_a_recipe_wins(name):
    settings = parse([f"@{PATHS[name]}", *DATA, "--batch_size=3", "--num_iter=2"], {}).config
    assert (settings.data.batch_size_per_replica, settings.run.duration.value) == (3, 2)


@pytest.mark.parametrize("name", ALL)
def test_every_flag_of_a_recipe_is_one_and_help_can_be_had_with_it(name, capsys):
    given = vars(build_parser().parse_args(complete(recipes.expand([f"@{PATHS[name]}"]))))
    assert len(given) >= 5
    with pytest.raises(SystemExit) as ended:
        parse([f"@{PATHS[name]}", "--help"], {})
    assert ended.value.code == 0
    assert "--batch_size" in capsys.readouterr().out


def test_the_quantized_recipe_is_the_published_one():
    given = vars(build_parser().parse_args(complete(recipes.expand([f"@{PATHS[QUANTIZED]}"]))))
    expected = {
        **{"arch": "resnet50", "mode": "train_and_evaluate", "iter_unit": "epoch", "num_iter": 10, "batch_size": 32},
        **{"lr_init": 5e-5, "lr_warmup_epochs": 1.0, "momentum": 0.875, "weight_decay": 1 / 32768},
        **{"label_smoothing": 0.1, "head_init": "original", "quantize": True, "symmetric": True, "use_qdq": True},
    }
    assert given == expected


def test_the_quantized_recipe_runs():
    config = parse([f"@{PATHS[QUANTIZED]}", *DATA, "--finetune_checkpoint=/checkpoint"], {}).config
    assert config.run.finetune_checkpoint == "/checkpoint"
    assert config.model.quantization == QuantizationSpec(symmetric=True, qdq=True)


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_says_in_its_first_line_what_it_is(name):
    first = PATHS[name].read_text().splitlines()[0]
    assert re.fullmatch(r"# .{40,118}", first)
