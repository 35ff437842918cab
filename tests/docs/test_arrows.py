"""The package's parts import each other one way only, as the house is drawn: read from the files, wherever in them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "modeling_sat"
ARROWS = {
    "reproduction": ["training", "labelling", "demo", "publishing"],
    "training": ["inference", "publishing"],  # a run writes its own card
    "demo": ["inference", "labelling"],  # a visitor takes the labels along
    "labelling": ["inference"],
    "publishing": ["inference"],
    "onnx": ["inference"],
    "inference": ["checkpoints", "evaluation", "data"],
    "checkpoints": ["methods", "data"],  # a run's record says which images it saw
    "methods": ["models"],
    "metrics": ["evaluation"],
    "evaluation": ["models"],
    "data": ["models"],
    "models": [],
}
"""A folder or file of the package, and what it may import besides what that may and `HELPERS`."""
HELPERS = ["output", "processes", "sentences", "field_roles", "lazily", "registration"]
"""Whoever may import these but `models`, whose files run without the package; each may import those after it too."""
EXCEPTIONS = {
    ("checkpoints/load.py", "onnx"): "an exported folder loads as any other; only then is ONNX imported",
    ("publishing/facts.py", "training"): "a card names the fields of training that were set",
}
"""What goes against an arrow today, and why."""


def part_of(module: tuple[str, ...]) -> str:
    """`inference` of `modeling_sat.inference.sheets`."""
    return module[1] if len(module) > 1 else "__init__"


@cache
def imports(path: Path) -> frozenset[tuple[str, ...]]:
    """The modules that a file imports, each as the parts of its absolute name."""
    package = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            base = (*base, *(node.module.split(".") if node.module else ()))
            found |= {(*base, alias.name) for alias in node.names}
    return frozenset(found)


def own_imports(path: Path) -> set[tuple[str, ...]]:
    return {module for module in imports(path) if module[0] == PACKAGE.name}


def below(part: str) -> set[str]:
    """What a part may import."""
    if part in HELPERS:
        return set(HELPERS[HELPERS.index(part) + 1 :])
    allowed = {part, *(() if part == "models" else HELPERS)}
    for lower in ARROWS[part]:
        allowed |= {lower} | below(lower)
    return allowed


def against_the_arrows() -> Iterator[tuple[str, str]]:
    for path in PACKAGE.rglob("*.py"):
        part = part_of((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))
        if part == "__init__":
            continue
        for other in {part_of(module) for module in own_imports(path)} - below(part) - {"__version__", part}:
            yield path.relative_to(PACKAGE).as_posix(), other


def test_every_part_is_drawn():
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert parts - {"__init__"} <= {*ARROWS, *HELPERS}


def test_arrows_point_one_way():
    wrong = set(against_the_arrows())
    assert wrong <= EXCEPTIONS.keys(), wrong - EXCEPTIONS.keys()
    assert EXCEPTIONS.keys() <= wrong, f"no exception any more, take it out: {EXCEPTIONS.keys() - wrong}"


def test_nothing_imports_a_script():
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    for path in PACKAGE.rglob("*.py"):
        assert not {module[0] for module in imports(path)} & {"scripts", *scripts} - {"evaluate"}, path


def files_of(module: tuple[str, ...]) -> Iterator[Path]:
    """The file of a module, or of the one that a name is imported from, and those of the packages around it."""
    for length in range(2, len(module) + 1):
        place = ROOT.joinpath(*module[:length])
        yield from (path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file())


def test_evaluation_imports_no_torch():
    waiting, seen = list((PACKAGE / "evaluation").glob("*.py")), set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [file for module in own_imports(path) for file in files_of(module)]
    assert PACKAGE / "models" / "localization_sat.py" in seen
    for path in seen:
        assert not {module[0] for module in imports(path)} & {"torch", "transformers", "accelerate", "datasets"}, path


def modules_after(code: str) -> set[str]:
    """What a fresh process has imported after some code."""
    process = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, sep='\\n')"],
        capture_output=True, text=True, check=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    return set(process.stdout.split("\n"))


@pytest.mark.parametrize(
    ("code", "never"),
    [
        ("import modeling_sat", ["torch", "transformers"]),
        ("import modeling_sat.evaluation", ["torch", "transformers", "matplotlib"]),
        ("import modeling_sat.training.run", ["modeling_sat.onnx", "onnx", "onnxruntime", "supervision", "gradio"]),
    ],
)
def test_what_is_not_needed_is_not_imported(code, never):
    assert not set(never) & modules_after(code)


def test_help_of_training_imports_no_images():
    code = (
        "import contextlib, io, runpy, sys\nsys.argv = ['scripts/train.py', '--help']\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    assert not {"datasets", "matplotlib", "pandas", "pyarrow", "onnx", "transformers.trainer"} & modules_after(code)
