"""The rules of the house that the linters do not know. Each checker is also shown code that breaks its rule."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("honeyguide", "models", "configs", "tasks", "workflows")
HEAVY = (
    "torch",
    "coffea",
    "uproot",
    "awkward",
    "matplotlib",
    "sklearn",
    "pandas",
    "numba",
    "fastjet",
    "pythia8mc",
    "polars",
    "optuna",
    "sqlalchemy",
)
VAGUE_NAMES = {"utils", "util", "helper", "helpers", "misc", "common", "tools"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Checker = Callable[[ast.Module], list[str]]


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def problems_in(checker: Checker, *folders: str) -> list[str]:
    found = []
    for path in sources(*folders):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(ROOT)}: {problem}" for problem in checker(tree)]
    return found


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def num_code_lines(function: Function) -> int:
    """Lines from `def` to the end; a docstring is no code."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= (function.body[0].end_lineno or 0) - function.body[0].lineno + 1
    return lines


# rule 2: the library knows no law, no YAML, no environment variable, no argv, and no path that it was not given

FOREIGN_MODULES = {"law", "luigi", "yaml", "argparse", "click"}
AMBIENT_NAMES = {
    "os.environ", "os.getenv", "os.putenv", "os.getcwd", "os.chdir", "sys.argv",
    "Path.cwd", "Path.home", "os.path.expanduser", "tempfile.gettempdir",
}  # fmt: skip
AMBIENT_METHODS = {"expanduser", "expandvars"}
IMPLIED_PATH = re.compile(
    r"(/(home|root|tmp|var|usr|opt|etc|dev|mnt|data|work|scratch|eos|afs|cvmfs|nfs)(/|$)|~/|[A-Z]:\\)"
)


def ambient_problems(tree: ast.Module) -> list[str]:
    found = []
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            found += [f"{line}: imports {a.name}" for a in node.names if a.name.split(".")[0] in FOREIGN_MODULES]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = {f"{module}.{alias.name}" for alias in node.names}
            if module.split(".")[0] in FOREIGN_MODULES or names & AMBIENT_NAMES:
                found.append(f"{line}: imports {', '.join(sorted(names))}")
        elif isinstance(node, ast.Attribute) and (
            ast.unparse(node).removeprefix("pathlib.") in AMBIENT_NAMES or node.attr in AMBIENT_METHODS
        ):
            found.append(f"{line}: uses {ast.unparse(node)}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            found += [f"{line}: has the path {node.value!r}"] if IMPLIED_PATH.match(node.value) else []
    return found


def test_library_knows_only_what_it_is_given() -> None:
    assert problems_in(ambient_problems, "honeyguide", "models") == []


@pytest.mark.parametrize(
    "code",
    [
        "import law",
        "from law.util import multi_match",
        "def f():\n    import yaml",
        "import os\nx = os.environ['A']",
        "from os import environ",
        "import sys\nx = sys.argv[1]",
        "x = '/tmp/cache'",
        "x = open('~/data.csv')",
        "from pathlib import Path\nx = Path.home()",
        "def f(p):\n    return p.expanduser()",
    ],
)
def test_ambient_knowledge_is_found(code: str) -> None:
    assert ambient_problems(ast.parse(code))


def test_innocent_code_is_left_alone() -> None:
    code = '"""Reads /tmp/x."""\nimport os\nx = os.replace("a", "b")\ny = group["/events"]\nz = "a/b"'
    assert ambient_problems(ast.parse(code)) == []


# rule 3: a task's run() is short and hands plain values to the library


def run_problems(tree: ast.Module) -> list[str]:
    found = []
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for function in (node for node in cls.body if isinstance(node, ast.FunctionDef) and node.name == "run"):
            if num_code_lines(function) > 20:
                found.append(f"{cls.name}.run has {num_code_lines(function)} lines, at most 20 allowed")
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
                is_law = isinstance(call.func, ast.Attribute) and call.func.attr.startswith("req")
                if not is_law and any(isinstance(node, ast.Name) and node.id == "self" for node in arguments):
                    found.append(f"{cls.name}.run passes self to {ast.unparse(call.func)}")
    return found


def test_tasks_are_thin() -> None:
    assert problems_in(run_problems, "tasks", "workflows") == []


def test_thick_tasks_are_found() -> None:
    head = "class A:\n    def run(self):\n        '''Doc.\n\n        More.\n        '''\n"
    assert run_problems(ast.parse(head + "        x = 1\n" * 19)) == []
    assert run_problems(ast.parse(head + "        x = 1\n" * 20))
    assert run_problems(ast.parse(head + "        train(self, 1)\n"))
    assert run_problems(ast.parse(head + "        train(task=self)\n"))
    assert run_problems(ast.parse(head + "        x = yield B.req(self)\n")) == []


# rule 4: whatever only looks at tasks loads nothing heavy


def loaded_of(names: tuple[str, ...], code: str, *, cwd: Path = ROOT, law_home: Path | None = None) -> set[str]:
    """The modules among `names` that a fresh interpreter has loaded after running `code`."""
    program = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('LOADED', *sorted(set({names!r}) & set(sys.modules)), file=sys.stderr))\n{code}"
    )
    environment = {**os.environ, "PYTHONPATH": str(cwd), "LAW_CONFIG_FILE": str(ROOT / "law.cfg")}
    if law_home is not None:
        environment |= {"LAW_HOME": str(law_home), "HONEYGUIDE_STORE": str(law_home / "store")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


def module_names(*folders: str) -> list[str]:
    parts = (path.relative_to(ROOT).with_suffix("").parts for path in sources(*folders))
    return [".".join(part for part in names if part != "__init__") for names in parts]


def test_importing_tasks_and_configs_is_light() -> None:
    names = [
        *module_names("tasks", "workflows", "configs"),
        *(n for n in module_names("models") if n.endswith("config")),
    ]
    assert loaded_of(HEAVY, "".join(f"import {name}\n" for name in names)) == set()


def test_importing_settings_is_light() -> None:
    names = [
        name for name in module_names("honeyguide", "models") if name.split(".")[-1] in ("settings", "config", "sample")
    ]
    assert len(names) > 2
    assert loaded_of((*HEAVY, "numpy", "h5py"), "".join(f"import {name}\n" for name in names)) == set()


def test_looking_at_tasks_is_light(tmp_path: Path) -> None:
    law = "sys.argv = ['law', *{}]\nfrom law.cli.cli import run\nsys.exit(run())"
    assert loaded_of(HEAVY, law.format(["index", "--quiet"]), law_home=tmp_path) == set()
    assert ":ROCCurveTask:" in (tmp_path / "index").read_text()
    status = ["run", "ROCCurveTask", "--config", "quickstart", "--print-status", "-1"]
    assert loaded_of((*HEAVY, "law"), law.format(status), law_home=tmp_path) == {"law"}


def test_a_heavy_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "innocent.py").write_text("import heavy_one\n")
    (tmp_path / "heavy_one.py").write_text("")
    assert loaded_of(("heavy_one", "heavy_two"), "import innocent", cwd=tmp_path) == {"heavy_one"}


# rule 5: sizes


def size_problems(tree: ast.Module) -> list[str]:
    found = []
    for function in functions(tree):
        arguments = function.args
        positional = [arg.arg for arg in arguments.posonlyargs + arguments.args if arg.arg not in ("self", "cls")]
        num_parameters = len(positional) + len(arguments.kwonlyargs)
        if num_code_lines(function) > 60:
            found.append(f"{function.name} has {num_code_lines(function)} lines, at most 60 allowed")
        if num_parameters > 7:
            found.append(f"{function.name} has {num_parameters} parameters, at most 7 allowed")
        if len(positional) > 5 and not function.name.startswith("_"):
            found.append(f"{function.name} has {len(positional)} positional parameters, at most 5 allowed")
    return found


def test_functions_are_small() -> None:
    assert problems_in(size_problems, *LAYERS, "benchmarks") == []


def test_most_functions_are_very_small() -> None:
    lengths = [num_code_lines(node) for path in sources(*LAYERS) for node in functions(ast.parse(path.read_text()))]
    assert sum(length < 30 for length in lengths) >= 0.9 * len(lengths)


def test_files_are_small() -> None:
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(*LAYERS, "benchmarks", "tests")
    }
    assert {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > 500} == {}


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n" + "    x = 1\n" * 60,
        "def f(a, b, c, d, *, e, f, g, h): ...",
        "class A:\n    def f(self, a, b, c, d, e, f): ...",
    ],
)
def test_large_functions_are_found(code: str) -> None:
    assert size_problems(ast.parse(code))


def test_docstrings_and_self_do_not_count() -> None:
    code = (
        "class A:\n    def f(self, a, b, *, c, d, e, f, g):\n        '''Doc.\n"
        + "\n" * 60
        + "        '''\n        return 1"
    )
    assert size_problems(ast.parse(code)) == []


# rule 6: the registry of models is complete


def registry_problems(folder: Path, registry: dict[str, str]) -> list[str]:
    found = []
    families = {path.name for path in folder.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    for family in families ^ set(registry):
        found.append(f"{family}: in the {'folder' if family in families else 'registry'} only")
    for family in families & set(registry):
        missing = [name for name in ("__init__", "config", "model") if not (folder / family / f"{name}.py").is_file()]
        found += [f"{family}: has no {name}.py" for name in missing]
        if registry[family] != f"{folder.name}.{family}":
            found.append(f"{family}: registered as {registry[family]}")
    return found


def test_every_model_family_is_registered() -> None:
    registry = importlib.import_module("models").REGISTRY
    assert registry
    assert registry_problems(ROOT / "models", registry) == []


def test_an_unregistered_family_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "new").mkdir(parents=True)
    for name in ("__init__", "config", "model"):
        (folder / "new" / f"{name}.py").touch()
    (folder / "__pycache__").mkdir()
    assert registry_problems(folder, {"new": "models.new"}) == []
    assert registry_problems(folder, {})
    assert registry_problems(folder, {"new": "models.new", "gone": "models.gone"})
    (folder / "new" / "config.py").unlink()
    assert registry_problems(folder, {"new": "models.new"})


# words


def docstring_problems(tree: ast.Module) -> list[str]:
    found = [] if ast.get_docstring(tree) else ["the module has no docstring"]
    named = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
    public = [node for node in named if not node.name.startswith("_")]
    return found + [f"{node.name} has no docstring" for node in public if not ast.get_docstring(node)]


def test_everything_public_has_a_docstring() -> None:
    assert problems_in(docstring_problems, *LAYERS) == []


def test_a_missing_docstring_is_found() -> None:
    assert docstring_problems(ast.parse("x = 1"))
    assert docstring_problems(ast.parse("'''Doc.'''\ndef f(): ..."))
    assert docstring_problems(ast.parse("'''Doc.'''\ndef _f(): ...")) == []


def test_no_file_has_a_vague_name() -> None:
    assert [str(path) for path in sources(*LAYERS, "tests", "benchmarks") if path.stem in VAGUE_NAMES] == []


def indexed_tasks() -> list[type]:
    import law

    for name in module_names("tasks", "workflows"):
        importlib.import_module(name)
    found, queue = {}, [law.Task]
    while queue:
        queue += (cls := queue.pop()).__subclasses__()
        is_ours = cls.__module__.split(".")[0] in ("tasks", "workflows")
        if is_ours and not cls.exclude_index and not cls.__name__.startswith("_") and cls.__name__.endswith("Task"):
            found[cls.__name__] = cls
    return list(found.values())


def undescribed(cls: type) -> list[str]:
    """Parameters without a description, of those that our own classes define."""
    import luigi

    ours = [base for base in cls.__mro__ if not base.__module__.startswith(("law.", "luigi."))]
    parameters = {
        name: value for base in ours for name, value in vars(base).items() if isinstance(value, luigi.Parameter)
    }
    return [f"{cls.__name__}.{name}" for name, value in parameters.items() if not value.description]


def test_every_task_parameter_is_described() -> None:
    tasks = indexed_tasks()
    assert len(tasks) >= 8
    assert [name for cls in tasks for name in undescribed(cls)] == []


def test_an_undescribed_parameter_is_found() -> None:
    import luigi

    cls = type("A", (), {"good": luigi.Parameter(description="what it does"), "bad": luigi.Parameter()})
    assert undescribed(cls) == ["A.bad"]


def test_every_task_docstring_has_a_runnable_example() -> None:
    concrete = [cls for cls in indexed_tasks() if cls.__name__ != "HoneyguideTask"]
    assert [cls.__name__ for cls in concrete if f"law run {cls.__name__}" not in (cls.__doc__ or "")] == []
