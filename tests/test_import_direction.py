"""The rules of the tree: imports point down, side effects have one address each, files and functions stay small."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = [
    *sorted(p for d in ("model", "object_detection", "runtime", "utils") for p in (ROOT / d).rglob("*.py")),
    ROOT / "main.py",
]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_LINES = 300  # of a file
COMMANDS = {  # they may import anything, nothing imports them
    "main",
    "object_detection.create_coco_tfrecord",
    "object_detection.model_main",
    "runtime.export",
    "utils.convert_dataset",
    "utils.benchmark_input",
    "utils.average_checkpoints",
    "utils.dali_index",
    "utils.doctor",
    "utils.import_checkpoint",
    "utils.inspect_dataset",
    "utils.postprocess_ckpt",
    "utils.report",
    "utils.validate_dataset",
}
COMPOSITION = {  # of a launch
    f"runtime.{name}"
    for name in (
        *("front_door", "launch", "setup", "detection_setup", "foreign", "probes"),
        *("inspection.objects", "inspection.run"),
    )
}
TASKS = {"runtime.classification", "runtime.detection"}
PACKAGES = {"runtime": 3, "model": 3, "object_detection": 3, "utils": 2}
ALSO_WITHOUT_TENSORFLOW = {
    "utils.config",
    "utils.cmdline_helper",
    "utils.flags.recipes",
    "utils.resolve",
    "utils.dllogger_utils",
    "utils.manifest",
    "utils.record_index",
    "utils.dali_index",
    "utils.image_files",
    "utils.convert_dataset",
    "runtime.environment",
    "runtime.export",
    "runtime.artefacts.formats",
    "runtime.plan",
    "runtime.best",
    "model.specs",
    "main",
}
LIBRARIES = {
    "main": set(),
    "model": {"tensorflow"},
    "object_detection": {"numpy", "tensorflow", "PIL", "google"},  # google.protobuf, which TensorFlow brings along
    "runtime": {"numpy", "tensorflow", "PIL", "google"},
    "utils": {"numpy", "tensorflow", "PIL", "tqdm"},
}
OPTIONAL = {  # where one file needs them
    "runtime.artefacts.onnx_model": {"onnx", "onnxruntime", "tf2onnx"},
    "runtime.artefacts.tflite_model": {"ai_edge_litert"},
    "utils.conversion.imagenet_archives": {"scipy"},
    "utils.dali_utils": {"nvidia"},
    "object_detection.conversion.instance_masks": {"pycocotools"},
    "utils.health.packages": {"onnx", "onnxruntime", "pycocotools"},
    "utils.hvd_utils": {"horovod"},
    "utils.reporting.charts": {"matplotlib"},
    "runtime.probes": {"ai_edge_litert"},
    "utils.weights.weights_file": {"safetensors"},
}
PROMISE = re.compile(r"\(no TF\)|[Ii]mports no TensorFlow|no TensorFlow\.")  # in a module's docstring


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in FILES}


def level(name):
    """Where a module stands: 5 is on top, and each imports its own level and those below."""
    if name in COMMANDS | COMPOSITION:
        return 5
    return 4 if name in TASKS else PACKAGES[name.partition(".")[0]]


def imported(path):
    """Names of all modules that a file imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES
            names |= submodules or {node.module}
    return names


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_down_only(path):
    name = module_of(path)
    ours = imported(path) & MODULES
    assert not ours & COMMANDS, "nothing imports a command"
    assert {other for other in ours if level(other) > level(name)} == set()
    if level(name) == 3:
        package = name.partition(".")[0]
        siblings = {other for other in ours if level(other) == 3 and other.partition(".")[0] != package}
        assert siblings == set(), "the loop and the networks do not know each other"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_package_uses_its_libraries_and_no_others(path):
    name = module_of(path)
    roots = {module.partition(".")[0] for module in imported(path)} - sys.stdlib_module_names - {*PACKAGES, "main"}
    roots -= OPTIONAL.get(name, set())
    if name not in COMMANDS:
        assert roots <= LIBRARIES[name.partition(".")[0]]
    assert roots <= LIBRARIES["utils"] | {"google"}


def test_only_their_own_modules_import_horovod_and_dali():
    for path in FILES:
        roots = {m.partition(".")[0] for m in imported(path)}
        assert "horovod" not in roots or module_of(path) == "utils.hvd_utils"
        mentions = "nvidia" in roots or "nvidia.dali" in path.read_text(encoding="utf-8")  # by name, when it is needed
        assert mentions == (module_of(path) == "utils.dali_utils")
        assert not roots & {"keras", "tf_keras"}


def is_environment(node):
    return ast.unparse(node) in ("os.environ", "environ")


def environment_writes(tree):
    """Lines that change the environment of this process."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del) and is_environment(node.value):
            yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changes = {"update", "setdefault", "pop", "popitem", "clear"}
            changed = is_environment(node.func.value) and node.func.attr in changes
            if changed or ast.unparse(node.func) in ("os.putenv", "os.unsetenv"):
                yield node.lineno


def test_only_the_front_door_writes_the_environment():
    written = {module_of(path): [*environment_writes(ast.parse(path.read_text(encoding="utf-8")))] for path in FILES}
    assert {name for name, lines in written.items() if lines} == {"runtime.front_door"}


def without_tensorflow():
    """Modules that say of themselves that they need no TensorFlow."""
    texts = {module_of(path): ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES}
    return {name for name, text in texts.items() if text and PROMISE.search(" ".join(text.split()))}


def run_without_tensorflow(code):
    """Runs code in a fresh interpreter, where importing TensorFlow is an error."""
    blocked = "import sys; sys.modules['tensorflow'] = None\n" + code
    return subprocess.run([sys.executable, "-c", blocked], cwd=ROOT, capture_output=True, text=True, check=False)


def test_what_is_said_to_work_without_tensorflow_does():
    names = sorted(without_tensorflow() | ALSO_WITHOUT_TENSORFLOW)
    assert len(names) > 15
    finished = run_without_tensorflow(f"for name in {names}: __import__(name)")
    assert finished.returncode == 0, finished.stderr


def test_help_is_there_without_tensorflow():
    finished = run_without_tensorflow("import main; main.main(['--help'])")
    assert finished.returncode == 0, finished.stderr
    assert "--arch" in finished.stdout


def test_a_usage_error_is_there_without_tensorflow():
    finished = run_without_tensorflow("import main, sys; sys.exit(main.main(['--data_dir=d', '--batch_size=0']))")
    assert finished.returncode == 2
    assert finished.stderr.startswith("main.py: error: --batch_size 0: must be a positive integer")


def nesting(node, depth=0):
    """The deepest level of blocks within blocks, but for ``with``; ``elif`` goes no deeper than its ``if``."""
    blocks = (ast.If, ast.For, ast.While, ast.Try, ast.Match)
    deepest = depth
    for child in ast.iter_child_nodes(node):
        chained = isinstance(node, ast.If) and [child] == node.orelse and isinstance(child, ast.If)
        inner = depth + isinstance(child, blocks) - chained
        if not isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            deepest = max(deepest, nesting(child, inner))
    return deepest


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_functions_and_signatures_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 50, node.name
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([a for a in arguments if a not in ("self", "cls")]) <= 7, node.name
            assert nesting(node) <= 3, node.name
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"bare except at line {node.lineno}"


def test_files_of_tests_stay_small():
    lines = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in TESTS}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_main_is_one_screen():
    assert (ROOT / "main.py").read_text(encoding="utf-8").count("\n") <= 60
