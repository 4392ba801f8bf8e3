"""The commands of the documents: each one parses, scripts print what they would start, and all flags are flags."""

import re
import subprocess

import pytest

from object_detection.model_command import parse as parse_model_main
from object_detection.model_flags import FLAGS as MODEL_MAIN_FLAGS
from tests import launching
from tests.conftest import ROOT
from tests.documents import DOCUMENTS, PAGES, README, code_in, git_files, without_variables
from tools import average_weights, benchmark_input, export, import_weights, launch, postprocess_weights, report, score
from tools.convert import __main__ as convert
from tools.convert import coco_command
from tools.doctor import __main__ as doctor
from tools.find_lr import __main__ as range_test
from tools.inspect import __main__ as inspection
from tools.measure import convolutions, scaling_model, soak
from tools.measure.compare import __main__ as comparison
from tools.measure.compare.cells import chosen_cells
from tools.sweep import __main__ as sweep
from tools.sweep.plan import make_plan
from tools.validate import __main__ as validation
from utils.cmdline_helper import build_parser, parse

PARSERS = {
    "object_detection.create_coco_tfrecord": coco_command.make_parser,
    "tools.average_weights": average_weights.make_parser,
    "tools.convert": convert.make_parser,
    "tools.doctor": doctor.make_parser,
    "tools.export": export.make_parser,
    "tools.import_weights": import_weights.make_parser,
    "tools.inspect": inspection.make_parser,
    "tools.measure.scaling_model": scaling_model.make_parser,
    "tools.postprocess_weights": postprocess_weights.make_parser,
    "tools.report": report.make_parser,
    "tools.score": score.make_parser,
    "tools.validate": validation.make_parser,
}
"""The parser of each command that has nothing but a parser."""
MEASUREMENTS = {"compare": comparison, "convolutions": convolutions, "soak": soak}
NOT_DRY_RUN = {
    *("examples/quickstart.sh", "tests/run.sh", "tests/gpu/run.sh", "utils/install_horovod.sh"),
    *("download_dataset.sh", "download_all.sh"),
    *("se-resnext101-32x4d/inference_benchmark.sh", "se-resnext101-32x4d/training/training_perf.sh"),  # in their tests
}
ELSEWHERE = {
    *("--fast", "--list", "--area"),  # tests/run.sh, tests.faults
    *("--mca", "--user", "--ipc", "--cap-add", "--logdir", "--tf_xla_auto_jit", "--tf_xla_ops_to_cluster"),
    "--gpus-per-task",
}
"""Flags of other programs that the text names."""
CURRENT = {path: document for path, document in DOCUMENTS.items() if path != "CHANGELOG.md"}
"""The documents that name no old commands."""
TEXT = "".join(document.text for document in CURRENT.values())
PROSE = "".join(document.prose for document in CURRENT.values())
COMMANDS = {" ".join(words): words for document in CURRENT.values() for words in document.commands}
"""Each command of the documents, once."""


def main_py(arguments):
    if "--help" in arguments:
        with pytest.raises(SystemExit, match=r"^0$"):
            parse(arguments, {})
        return
    command = parse(arguments, {})
    assert not [note for note in command.notes if "no effect" in note]


def doctor_names(arguments):
    doctor.parse_arguments(arguments)


def pip(arguments):
    names = [word for word in arguments if word.endswith(".txt")]
    assert arguments[0] == "install"
    assert all((ROOT / name).is_file() for name in names)


def docker(words):
    names = [word.removeprefix("REQUIREMENTS=") for word in words if word.endswith((".sh", ".txt"))]
    assert all((ROOT / name).is_file() for name in names)
    if words[1] == "run":
        assert {"--gpus", "--ipc=host", "--user"} <= set(words)
    for argument in (word for word in words if "=" in word and words[words.index(word) - 1] == "--build-arg"):
        assert f"ARG {argument.split('=')[0]}" in (ROOT / "Dockerfile").read_text()


def script(words):
    """Checks the syntax of a shell script."""
    subprocess.run(["bash", "-n", ROOT / words[1]], check=True)


def program_of_tests(module, arguments):
    """Checks that a program among the tests, or a module that its flags come from, knows these flags."""
    place = ROOT / module.replace(".", "/")
    files = [*place.glob("*.py")] if place.is_dir() else [place.with_suffix(".py"), *place.parent.glob("[cp]*.py")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    assert all(f'"{word.partition("=")[0]}"' in text for word in arguments if word.startswith("--"))


def measured(arguments):
    name, *further = arguments
    options = MEASUREMENTS[name].make_parser().parse_args(further)
    if name == "compare" and options.cells:
        chosen_cells(options.cells.split(","))


def launched(arguments):
    if command := launch.make_parser().parse_args(arguments).command:
        check(command)


def swept(arguments):
    options = sweep.make_parser().parse_args(arguments)
    plan = make_plan(options.folds, options.seeds, options.grid, options.setting, options.flags)
    for one in plan.launches(options.output):
        main_py(one.flags)


PROGRAMS = {
    "main.py": main_py,
    "object_detection/model_main.py": lambda arguments: parse_model_main(arguments, {}),
    "tools.benchmark_input": benchmark_input.parse_arguments,
    "tools.doctor": doctor_names,
    "tools.find_lr": lambda arguments: range_test.parse_arguments(arguments, {}),
    "tools.launch": launched,
    "tools.measure": measured,
    "tools.sweep": swept,
    "pip": pip,
    **dict.fromkeys(("PROGRAM", "pytest", "tools", "venv"), lambda arguments: None),
}


def check(words):
    """Checks a command by the kind of its program."""
    if words[0] == "docker":
        return docker(words)
    if words[0] in ("bash", "sbatch"):
        return script(words)
    first = next(number for number, word in enumerate(words) if re.search(r"(^|/)python[\d.]*$", word))
    program, *arguments = words[first + 1 :] if words[first + 1] != "-m" else words[first + 2 :]
    if program in PROGRAMS:
        return PROGRAMS[program](arguments)
    if program.startswith("tests."):
        return program_of_tests(program, arguments)
    return PARSERS[program]().parse_args(arguments)


def test_the_readme_shows_its_two_commands_first():
    assert README.commands[:2] == [["bash", "examples/quickstart.sh"], ["bash", "tests/run.sh"]]


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_is_one_that_its_program_takes(words):
    check(without_variables(words))


INLINE = {code: re.split(r"python -m ", code)[1].split() for code in code_in(PROSE) if "python -m " in code}
NAMED_ONLY = {code for code, words in INLINE.items() if words[1:] in ([], ["--help"])}


@pytest.mark.parametrize("code", sorted(INLINE.keys() - NAMED_ONLY))
def test_a_command_within_a_sentence_is_one_that_is_taken(code):
    check(["python", "-m", *INLINE[code]])


SCRIPTS = {
    line: words
    for line, words in COMMANDS.items()
    if without_variables(words)[0] == "bash" and without_variables(words)[1] not in NOT_DRY_RUN
}


@pytest.mark.parametrize("words", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_prints_what_the_command_would_start(words, tmp_path):
    _, path, *arguments = without_variables(words)
    variables = dict(word.split("=", 1) for word in words[: words.index("bash")])
    variables.pop("DRY_RUN", None)
    (tmp_path / "cwd").mkdir()
    started = launching.commands(path, *arguments, cwd=tmp_path / "cwd", **variables)
    assert started
    for _, program, flags in started:
        assert (ROOT / program).is_file()
        PROGRAMS.get(str(program), len)(flags)


def test_the_predictions_are_those_of_the_model(capsys):
    (words,) = [words for words in COMMANDS.values() if "tools.measure.scaling_model" in words]
    given = [word for word in words[words.index("tools.measure.scaling_model") + 1 :] if "network_gb_s" not in word]
    columns = []
    for network in (["--network_gb_s=160"], ["--network_gb_s=12.5", "--overlap=0"], ["--network_gb_s=1.25"]):
        assert scaling_model.main([*given, *network]) == 0
        rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
        columns.append([f"{averaging}, {step}, {efficiency}" for _, averaging, step, _, efficiency in rows])
    for gpus, *cells in zip((8, 64, 512), *columns, strict=True):
        assert f"| {gpus} | {' | '.join(cells)} |" in PAGES["docs/performance.md"].text


def test_every_flag_in_the_documents_is_one():
    parsers = [
        build_parser(),
        benchmark_input.make_parser(),
        sweep.make_parser(),
        range_test.make_parser(),
        *(make() for make in PARSERS.values()),
    ]
    parsers += [measurement.make_parser() for measurement in MEASUREMENTS.values()]
    known = {option for parser in parsers for action in parser._actions for option in action.option_strings}
    known |= {f"--{flag.name}" for flag in MODEL_MAIN_FLAGS}
    used = set(re.findall(r"(?<![\w-])--[a-zA-Z_][\w-]*", PROSE))
    assert used - known - ELSEWHERE == set()
    assert ELSEWHERE - used == set()


def test_every_program_that_is_named_anywhere_exists():
    for module in set(re.findall(r"-m (\w+(?:\.\w+)+)", TEXT)) - {"tools.NAME"}:
        place = ROOT / module.replace(".", "/")
        file = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
        assert "__main__" in file.read_text(encoding="utf-8") or file.name == "__main__.py"
    scripts = set(re.findall(r"(?:bash|python|sbatch) ([\w./-]+\.(?:py|sh))", TEXT))
    assert len(scripts) > 10
    assert {path for path in scripts if not (ROOT / path).is_file()} == set()


@pytest.mark.parametrize("document", CURRENT.values(), ids=CURRENT)
def test_every_file_that_is_named_is_there(document):
    pattern = r"(?:\.\./)?[\w-]+(?:/[\w.-]+)+\.(?:py|sh|args|txt|config)"
    named = [code for code in code_in(document.prose) if re.fullmatch(pattern, code)]
    places = (ROOT, (ROOT / document.path).parent)
    assert [name for name in named if not any((place / name).is_file() for place in places)] == []


def test_every_variable_before_a_command_is_one_that_a_program_reads():
    words = {word.split("=")[0] for command in COMMANDS.values() for word in command if re.match(r"[A-Z_]+=", word)}
    words |= {word.split("=")[0] for code in code_in(PROSE) for word in re.findall(r"(?:^| )([A-Z_]{4,}=)", code)}
    text = "".join((ROOT / path).read_text(encoding="utf-8") for path in git_files("*.sh", "*.py", "Dockerfile"))
    assert words
    assert {word for word in words if not re.search(rf"\b{word}\b", text)} == set()
