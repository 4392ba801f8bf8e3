"""The rules of the source tree: imports point down, each side effect has one home, functions stay small."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("model", "object_detection", "runtime", "tools", "utils")
FILES = [*sorted(p for d in PACKAGES for p in (ROOT / d).rglob("*.py")), ROOT / "main.py"]
RULES = {  # what the modules of a folder may import of this project; commands may import everything
    "model": ("model",),
    "utils": ("utils", "model.specs"),
    "object_detection": ("object_detection", "utils", "model.specs"),
    "runtime": ("runtime", "utils", "model.specs"),
    "tools": PACKAGES,
    "main": PACKAGES,
}
EVERYTHING_BELOW_TOOLS = ("model", "object_detection", "runtime", "utils")
EXCEPTIONS = {  # modules and folders where the network, the data and the loss of a task meet
    "runtime.setup": EVERYTHING_BELOW_TOOLS,
    "runtime.classification": ("model", "runtime", "utils"),
    "runtime.detection.task": EVERYTHING_BELOW_TOOLS,
}
ALSO_WITHOUT_TENSORFLOW = {
    "utils.config",
    "utils.cmdline_helper",
    "utils.flags.recipes",
    "utils.dllogger_utils",
    "utils.records.manifest",
    "utils.records.record_index",
    "utils.images.image_files",
    "runtime.classification.resolve_classifier",
    "runtime.environment",
    "runtime.artefacts.formats",
    "runtime.planning.plan",
    "runtime.training.best_checkpoint",
    "tools.convert.__main__",
    "tools.dali_index",
    "tools.export",
    "model.specs",
    "main",
}
LIBRARIES = {
    "main": set(),
    "model": {"tensorflow"},
    "object_detection": {"numpy", "tensorflow", "PIL", "google"},  # google.protobuf, which TensorFlow brings along
    "runtime": {"numpy", "tensorflow", "PIL", "google"},
    "tools": {"numpy", "tensorflow", "PIL", "google"},
    "utils": {"numpy", "tensorflow", "PIL", "rich"},
}
OPTIONAL = {  # where one file needs them
    "runtime.artefacts.onnx_model": {"onnx", "onnxruntime", "tf2onnx"},
    "runtime.artefacts.openvino_model": {"nncf", "openvino"},
    "runtime.artefacts.tflite_model": {"ai_edge_litert"},
    "tools.convert.imagenet_archives": {"scipy"},
    "tools.measure.compare.peers": {"torch", "torchvision"},  # in an environment of its own
    "tools.measure.compare.runtimes": {"onnxruntime", "openvino"},
    "tools.measure.compare.timm_network": {"timm", "torchvision"},
    "tools.convert.instance_masks": {"pycocotools"},
    "tools.doctor.package_probes": {"google_crc32c", "onnx", "onnxruntime", "openvino", "pycocotools"},
    "tools.doctor.tensorflow_probes": {"ai_edge_litert"},
    "tools.weights.weights_file": {"safetensors"},
    "utils.dali_utils": {"nvidia"},
    "utils.hvd_utils": {"horovod"},
    "utils.images.videos": {"av"},
    "utils.records.crc32c": {"google_crc32c"},
    "utils.reporting.charts": {"matplotlib"},
}
PROMISE = re.compile(r"\(no TF\)|[Ii]mports no TensorFlow|no TensorFlow\.")  # in a module's docstring


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path) for path in FILES}


def within(name, packages):
    """Returns whether a module is one of these, or in one of these packages."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def is_command(path):
    """Returns whether a module is a command, started as ``python -m`` or by its path."""
    return "\nif __name__ == " in path.read_text(encoding="utf-8")


def imported(path, *, at_once=False):
    """Returns the names of all modules that a file imports: at any depth of its code, or as soon as it is imported."""
    names, tree = set(), ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_once else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES
            names |= submodules or {node.module}
    return names


def allowed_to(name):
    """Returns the packages that a module may import of this project, unless it is a command."""
    exceptions = (allowed for place, allowed in EXCEPTIONS.items() if within(name, (place,)))
    return next(exceptions, RULES[name.partition(".")[0]])


def test_imports_point_down_only():
    offenders = []
    for path in FILES:
        name = module_of(path)
        allowed = PACKAGES if is_command(path) else allowed_to(name)
        offenders += [f"{name} imports {other}" for other in imported(path) & MODULES if not within(other, allowed)]
    assert offenders == []


def test_nothing_imports_a_command():
    commands = {module_of(path) for path in FILES if is_command(path)}
    outside = {name for name in commands if not name.startswith("tools.")}
    assert outside == {"main", "object_detection.model_main", "object_detection.create_coco_tfrecord"}
    assert {"tools.report", "tools.convert.__main__"} < commands
    assert {module_of(path): found for path in FILES if (found := imported(path) & commands)} == {}


def test_the_exceptions_are_few_and_needed():
    assert len(EXCEPTIONS) <= 3
    for place in EXCEPTIONS:
        ours = {other for path in FILES if within(module_of(path), (place,)) for other in imported(path) & MODULES}
        assert any(not within(other, RULES["runtime"]) for other in ours), place


def test_a_package_uses_its_libraries_and_no_others():
    offenders = {}
    for path in FILES:
        name = module_of(path)
        roots = {module.partition(".")[0] for module in imported(path)} - sys.stdlib_module_names - {*PACKAGES, "main"}
        offenders[name] = roots - OPTIONAL.get(name, set()) - LIBRARIES[name.partition(".")[0]]
    assert {name: roots for name, roots in offenders.items() if roots} == {}


def test_there_are_no_circles():
    graph = {module_of(path): imported(path) & MODULES for path in FILES}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_the_folders_of_object_detection_have_no_circles():
    graph = {}
    for path in (ROOT / "object_detection").rglob("*.py"):
        ours = {part_of(name) for name in imported(path) if name.startswith("object_detection.")}
        graph.setdefault(part_of(module_of(path)), set()).update(ours - {part_of(module_of(path))})
    assert graph["object_detection.losses"] > {"object_detection.matching"}
    list(graphlib.TopologicalSorter(graph).static_order())


def part_of(name):
    """Returns the folder of a package that a module is in, or the module itself."""
    return ".".join(name.split(".")[:2])


def test_only_their_own_modules_import_horovod_and_dali():
    for path in FILES:
        roots = {m.partition(".")[0] for m in imported(path)}
        assert "horovod" not in roots or module_of(path) == "utils.hvd_utils"
        mentions = "nvidia" in roots or "nvidia.dali" in path.read_text(encoding="utf-8")  # by name, when it is needed
        assert mentions == (module_of(path) in ("utils.dali_utils", "tools.measure.compare.dalis_own"))
        assert not roots & {"keras", "tf_keras"}


def is_environment(node):
    return ast.unparse(node) in ("os.environ", "environ")


def environment_writes(tree):
    """Returns the lines that change the environment of this process."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del) and is_environment(node.value):
            yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changes = {"update", "setdefault", "pop", "popitem", "clear"}
            changed = is_environment(node.func.value) and node.func.attr in changes
            if changed or ast.unparse(node.func) in ("os.putenv", "os.unsetenv"):
                yield node.lineno


def test_one_module_alone_writes_the_environment():
    written = {module_of(path): [*environment_writes(ast.parse(path.read_text(encoding="utf-8")))] for path in FILES}
    assert {name for name, lines in written.items() if lines} == {"runtime.tensorflow_import"}


def reached(start, graph):
    """Returns the modules that lead from ``start`` in a graph of imports, with ``start`` itself."""
    found, waiting = set(), list(start)
    while waiting:
        if (name := waiting.pop()) not in found:
            found.add(name)
            waiting += graph.get(name, ())
    return found


def test_a_command_loads_tensorflow_where_its_messages_are_held_back():
    graph = {module_of(path): imported(path, at_once=True) for path in FILES}
    offenders, users = [], set()
    for path in filter(is_command, FILES):
        roots = {name.partition(".")[0] for name in reached(imported(path), graph)}
        if "tensorflow" in roots:
            users.add(module_of(path))
            through = names_from("runtime.entry_point", path) & {"start", "run"}
            through |= names_from("runtime.tensorflow_import", path) & {"load_tensorflow"}
            offenders += [] if through else [module_of(path)]
    assert offenders == []
    assert {"tools.average_weights", "tools.benchmark_input", "tools.export", "tools.import_weights"} < users


def names_from(module, path):
    """Returns the names that a file imports from a module."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    found = [node.names for node in nodes if isinstance(node, ast.ImportFrom) and node.module == module]
    return {alias.name for names in found for alias in names}


def without_tensorflow():
    """Returns the modules whose docstring promises that they need no TensorFlow."""
    texts = {module_of(path): ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES}
    return {name for name, text in texts.items() if text and PROMISE.search(" ".join(text.split()))}


def run_without_tensorflow(code):
    """Runs code in a fresh interpreter in which importing TensorFlow fails."""
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
    """Returns the deepest nesting of blocks, ``with`` not counted; ``elif`` is as deep as its ``if``."""
    blocks = (ast.If, ast.For, ast.While, ast.Try, ast.Match)
    deepest = depth
    for child in ast.iter_child_nodes(node):
        chained = isinstance(node, ast.If) and [child] == node.orelse and isinstance(child, ast.If)
        inner = depth + isinstance(child, blocks) - chained
        if not isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            deepest = max(deepest, nesting(child, inner))
    return deepest


def test_functions_and_signatures_stay_small():
    offenders = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                offenders.append(f"{where} bare except")
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            lines, count = node.end_lineno - node.lineno + 1, len([a for a in arguments if a not in ("self", "cls")])
            if lines > 50 or count > 7 or nesting(node) > 3:
                offenders.append(f"{where} {node.name}: {lines} lines, {count} arguments, nesting {nesting(node)}")
    assert offenders == []


def test_a_docstring_begins_with_what_a_thing_is_or_does():
    texts = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value.value.split(maxsplit=1)[0]}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    assert len(texts) > 1000
    assert [text for text in texts if text.endswith((" What", " Which", " How", " Whether", " Return", " That"))] == []


def test_main_is_one_screen():
    assert (ROOT / "main.py").read_text(encoding="utf-8").count("\n") <= 60
