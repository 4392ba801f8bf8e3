"""The README: its commands parse, its scripts exist, its flags are flags, and its table of files is the tree."""

import re
import subprocess

import pytest

from object_detection.model_command import parse as parse_model_main
from object_detection.model_flags import FLAGS as MODEL_MAIN_FLAGS
from tests import launching
from tests.conftest import ROOT
from tests.readme_text import COMMANDS, PROSE, README, code_in, commands_in, without_variables
from tools.average_weights import make_parser as averaging_parser
from tools.benchmark_input import parse_arguments as parse_benchmark_input
from tools.convert.__main__ import make_parser as converter_parser
from tools.convert.coco_command import make_parser as coco_parser
from tools.doctor.__main__ import make_parser as doctor_parser
from tools.doctor.__main__ import parse_arguments as doctor_arguments
from tools.export import make_parser as export_parser
from tools.import_weights import make_parser as import_parser
from tools.inspect.__main__ import make_parser as inspection_parser
from tools.measure.scaling_model import main as scaling_model
from tools.measure.scaling_model import make_parser as scaling_parser
from tools.postprocess_weights import make_parser as rewriting_parser
from tools.report import make_parser as report_parser
from tools.validate.__main__ import make_parser as validation_parser
from utils.cmdline_helper import build_parser, parse


def test_the_readme_shows_its_two_commands_first():
    assert COMMANDS[:2] == [["bash", "examples/quickstart.sh"], ["bash", "tests/run.sh"]]


@pytest.mark.parametrize("words", [w for w in COMMANDS if "main.py" in w], ids=" ".join)
def test_every_main_py_command_is_one_that_main_py_takes(words):
    command = parse(words[words.index("main.py") + 1 :], {})
    assert not [note for note in command.notes if "no effect" in note]


@pytest.mark.parametrize("words", [w for w in COMMANDS if "tools.convert" in w], ids=" ".join)
def test_every_conversion_is_one_that_the_converter_takes(words):
    converter_parser().parse_args(words[words.index("tools.convert") + 1 :])


@pytest.mark.parametrize("words", [w for w in COMMANDS if "tools.import_weights" in w], ids=" ".join)
def test_every_import_is_one_that_the_command_takes(words):
    import_parser().parse_args(words[words.index("tools.import_weights") + 1 :])


OTHERS = {
    "tools.export": export_parser,
    "tools.average_weights": averaging_parser,
    "tools.doctor": doctor_parser,
    "tools.inspect": inspection_parser,
    "tools.postprocess_weights": rewriting_parser,
    "tools.report": report_parser,
    "tools.validate": validation_parser,
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_command_is_one_that_is_taken(name):
    found = [words for words in COMMANDS if name in words]
    assert found
    for words in found:
        OTHERS[name]().parse_args(words[words.index(name) + 1 :])


@pytest.mark.parametrize("words", [w for w in COMMANDS if "tools.benchmark_input" in w], ids=" ".join)
def test_every_measurement_of_input_is_one_that_the_command_takes(words):
    parse_benchmark_input(words[words.index("tools.benchmark_input") + 1 :])


@pytest.mark.parametrize("words", [w for w in COMMANDS if "object_detection.create_coco_tfrecord" in w], ids=" ".join)
def test_every_conversion_of_annotations_is_one_that_the_converter_takes(words):
    coco_parser().parse_args(words[words.index("object_detection.create_coco_tfrecord") + 1 :])


@pytest.mark.parametrize("words", [w for w in COMMANDS if "object_detection/model_main.py" in w], ids=" ".join)
def test_every_model_main_command_is_one_that_it_takes(words):
    parse_model_main(words[words.index("object_detection/model_main.py") + 1 :], {})


def test_the_predictions_are_those_of_the_model(capsys):
    (words,) = [w for w in COMMANDS if "tools.measure.scaling_model" in w]
    given = [word for word in words[words.index("tools.measure.scaling_model") + 1 :] if "network_gb_s" not in word]
    columns = []
    for network in (["--network_gb_s=160"], ["--network_gb_s=12.5", "--overlap=0"], ["--network_gb_s=1.25"]):
        assert scaling_model([*given, *network]) == 0
        rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
        columns.append([f"{averaging}, {step}, {efficiency}" for _, averaging, step, _, efficiency in rows])
    for gpus, *cells in zip((8, 64, 512), *columns, strict=True):
        assert f"| {gpus} | {' | '.join(cells)} |" in README


@pytest.mark.parametrize("words", [w for w in COMMANDS if "docker" in w], ids=" ".join)
def test_every_docker_command_names_what_there_is(words):
    names = [word for word in words if word.endswith((".sh", ".txt"))]
    assert all((ROOT / name.removeprefix("REQUIREMENTS=")).is_file() for name in names)
    if words[1] == "run":
        assert {"--gpus", "--ipc=host", "--user"} <= set(words)
    for argument in (word for word in words if "=" in word and words[words.index(word) - 1] == "--build-arg"):
        assert f"ARG {argument.split('=')[0]}" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] == "bash"], ids=" ".join)
def test_every_script_exists_and_is_one(words):
    subprocess.run(["bash", "-n", ROOT / words[1]], check=True)


def test_every_flag_in_the_readme_is_one():
    known = {option for action in build_parser()._actions for option in action.option_strings}
    known |= {option for action in converter_parser()._actions for option in action.option_strings}
    known |= {option for action in import_parser()._actions for option in action.option_strings}
    known |= {option for action in coco_parser()._actions for option in action.option_strings}
    known |= {option for make in OTHERS.values() for action in make()._actions for option in action.option_strings}
    known |= {option for action in scaling_parser()._actions for option in action.option_strings}
    known |= {f"--{flag.name}" for flag in MODEL_MAIN_FLAGS}
    elsewhere = {"--fast", "--inference", "--no-deps", "--steps", "--tf_xla_auto_jit", "--tf_xla_cpu_global_jit"}
    elsewhere |= {"--list", "--area"}  # of tests.faults
    elsewhere |= {"--mca", "--user", "--ipc", "--cap-add", "--logdir"}  # of Open MPI, Docker and TensorBoard
    tables = re.findall(r"`([^`\n]*--[^`]*)`", README)
    used = {word for text in tables for word in re.findall(r"--[a-zA-Z_][\w-]*", text)}
    used |= set(re.findall(r"(?<![\w-])--[a-zA-Z_][\w-]*", PROSE))
    assert used - known - elsewhere == set()


@pytest.mark.parametrize(
    ("flag", "path"),
    [
        ("--fast", "tests/run.sh"),
        ("--inference", "tests/benchmarks/against_torchvision.py"),
        ("--steps", "tests/benchmarks/memory_soak.py"),
    ],
)
def test_flags_of_other_programs_of_ours_are_theirs(flag, path):
    assert flag in (ROOT / path).read_text(encoding="utf-8")


MODULES = {*OTHERS, "tools.convert", "tools.import_weights", "tools.benchmark_input"}
MODULES |= {"object_detection.create_coco_tfrecord", "tools.measure.scaling_model"}
WITHOUT_DRY_RUN = {
    *("examples/quickstart.sh", "tests/run.sh", "utils/install_horovod.sh", "download_dataset.sh", "download_all.sh")
}


def kind_of(words):
    """The kind of a command, each of which a test here takes; None for one that no test would take."""
    if words[0] in ("bash", "docker", "sbatch"):
        return words[0]
    if "main.py" in words or "object_detection/model_main.py" in words or "PROGRAM" in words:
        return "program"
    if words[0] in (".venv/bin/python", "python") and words[1] == "-m":
        return words[2] if words[2] in MODULES else "pip" if words[2:5:2] == ["pip", "-r"] else None
    return None


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_command_is_left_untested(words):
    assert kind_of(words) is not None
    assert all((ROOT / word).is_file() for word in words if re.fullmatch(r"requirements[\w/-]*\.txt", word))


PARTS = [(w, without_variables(w)) for w in commands_in(README)]
SCRIPTS = [w for w, command in PARTS if command[0] == "bash" and command[1] not in WITHOUT_DRY_RUN]


@pytest.mark.parametrize("words", SCRIPTS, ids=" ".join)
def test_a_script_prints_what_the_command_would_start(words, tmp_path):
    _, script, *arguments = without_variables(words)
    variables = dict(word.split("=", 1) for word in words[: words.index("bash")])
    variables.pop("DRY_RUN", None)
    (tmp_path / "cwd").mkdir()
    for _, program, flags in launching.commands(script, *arguments, cwd=tmp_path / "cwd", **variables):
        assert (ROOT / program).is_file()
        if program.name == "main.py":
            parse(flags, {})
        elif program.name == "model_main.py":
            parse_model_main(flags, {})


INLINE = [re.split(r" -m ", code, maxsplit=1)[1].split() for code in code_in(PROSE) if " -m " in code]


@pytest.mark.parametrize("words", [w for w in INLINE if w[0] in OTHERS and w[1:] not in ([], ["--help"])], ids=" ".join)
def test_a_command_within_a_sentence_is_one_that_is_taken(words):
    (doctor_arguments if words[0] == "tools.doctor" else OTHERS[words[0]]().parse_args)(words[1:])


def test_every_program_that_is_named_anywhere_exists():
    for module in set(re.findall(r"-m (\w+(?:\.\w+)+)", README)) - {"tools.NAME"}:
        place = ROOT / module.replace(".", "/")
        file = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
        assert "__main__" in file.read_text(encoding="utf-8") or file.name == "__main__.py"
    scripts = set(re.findall(r"(?:bash|python|sbatch) ([\w./-]+\.(?:py|sh))", README))
    named = {code for code in code_in(PROSE) if re.fullmatch(r"[\w-]+(/[\w.-]+)+\.(py|sh|args|txt|config)", code)}
    assert len(scripts) > 10
    assert {path for path in scripts | named if not (ROOT / path).is_file()} == set()


def test_every_variable_before_a_command_is_one_that_a_script_reads():
    words = {word.split("=")[0] for command in commands_in(README) for word in command if re.match(r"[A-Z_]+=", word)}
    words |= {word.split("=")[0] for code in code_in(PROSE) for word in re.findall(r"(?:^| )([A-Z_]{4,}=)", code)}
    files = subprocess.run(["git", "ls-files", "*.sh", "*.py", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    text = "".join((ROOT / path).read_text(encoding="utf-8") for path in files.stdout.split())
    assert words
    assert {word for word in words if not re.search(rf"\b{word}\b", text)} == set()
