"""The rules of the tree: imports point down, side effects have one address each, files and functions stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = [*sorted(p for d in ("model", "runtime", "utils") for p in (ROOT / d).rglob("*.py")), ROOT / "main.py"]
COMMANDS = {"main", "utils.convert_dataset", "utils.benchmark_input"}  # composition roots: they may import anything
TASKS = {"runtime.classification"}
WITHOUT_TENSORFLOW = (
    "utils.config",
    "utils.cmdline_helper",
    "utils.recipes",
    "utils.resolve",
    "utils.dllogger_utils",
    "utils.manifest",
    "utils.image_files",
    "utils.convert_dataset",
    "runtime.environment",
    "runtime.plan",
    "runtime.best",
    "model.specs",
    "main",
)
# Only these may be imported by a module of the package named first.
ALLOWED = {
    "utils": {"utils"},
    "model": {"model"},
    "runtime": {"runtime", "model", "utils"},
}


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path):
    """Names of all modules that a file imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_down_only(path):
    name = module_of(path)
    ours = {m for m in imported(path) if m.partition(".")[0] in {*ALLOWED, "main", "tests", "object_detection"}}
    assert not ours & COMMANDS, "nothing imports a command"
    if name in COMMANDS:
        return
    package = name.partition(".")[0]
    assert {m.partition(".")[0] for m in ours} <= ALLOWED[package]
    if package == "runtime" and name not in TASKS | {"runtime.setup"}:
        assert not {m for m in ours if m.startswith("model")}, "only a task knows the network"


def test_only_their_own_modules_import_horovod_and_dali():
    for path in FILES:
        roots = {m.partition(".")[0] for m in imported(path)}
        assert "horovod" not in roots or module_of(path) == "utils.hvd_utils"
        assert "nvidia" not in roots or module_of(path) == "utils.dali_utils"
        assert not roots & {"keras", "tf_keras"}


def test_only_main_writes_the_environment():
    for path in FILES:
        if module_of(path) == "main":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
                assert ast.unparse(node.value) != "os.environ", f"{path}:{node.lineno}"
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("os.environ.update", "os.environ.setdefault", "os.putenv"), path


def test_what_is_said_to_work_without_tensorflow_does():
    code = f"import sys\nfor m in {WITHOUT_TENSORFLOW}: __import__(m)\nassert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_functions_and_signatures_stay_small(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 50, node.name
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            assert len([a for a in arguments if a not in ("self", "cls")]) <= 7, node.name
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"bare except at line {node.lineno}"
