"""What the files beside the code say of the project agrees with it."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import modeling_sat


ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "modeling_sat"
EXTRAS = {"demo": "demo", "onnx": "export"}
"""A folder of the package, and the extra that it needs."""


def of_project(field: str) -> str:
    """A text of pyproject.toml's [project]; Python 3.10 has no parser of TOML."""
    project = (ROOT / "pyproject.toml").read_text().split("[project]\n")[1].split("\n[")[0]
    return re.search(rf'^{field} = "(.+)"$', project, re.MULTILINE)[1]


def declared(name: str = "dependencies") -> list[Requirement]:
    """What pyproject.toml lists under a name."""
    (listed,) = re.findall(rf"^{name} = (\[.*?\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    return [Requirement(requirement) for requirement in ast.literal_eval(listed)]


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("folder", [None, *EXTRAS])
def test_what_is_imported_is_declared(folder):
    requirements = declared() + (declared(EXTRAS[folder]) if folder else [])
    distributions = {canonicalize_name(requirement.name) for requirement in requirements}
    files = [
        path
        for path in PACKAGE.rglob("*.py")
        if (
            path.relative_to(PACKAGE).parts[0] == folder
            if folder
            else path.relative_to(PACKAGE).parts[0] not in EXTRAS
        )
    ]
    own, known = {"modeling_sat", *sys.stdlib_module_names}, packages_distributions()
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in imported(path) - own
        if not distributions & {canonicalize_name(distribution) for distribution in known.get(name, [])}
    }
    assert files and not undeclared, undeclared


def test_the_transformers_that_is_installed_is_one_that_is_tested():
    (requirement,) = [requirement for requirement in declared() if requirement.name == "transformers"]
    installed = version("transformers")
    assert {clause.operator for clause in requirement.specifier} == {">=", "<"}
    assert installed in requirement.specifier, (
        f"transformers {installed} is installed, and training leans on private methods of {requirement.specifier} "
        "(modeling_sat/training/resuming.py); see whether they still mean the same, then move the bound."
    )


@pytest.fixture(scope="module")
def citation() -> dict:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_citation_is_of_this_software(citation):
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["authors"]
    assert citation["title"] == of_project("name")
    assert str(citation["version"]) == modeling_sat.__version__
    assert citation["license"] == of_project("license")
    assert citation["abstract"] == of_project("description") + "."


def test_citation_prefers_the_paper(citation):
    paper = citation["preferred-citation"]
    names = [f"{author['given-names']} {author['family-names']}" for author in paper["authors"]]
    assert paper["type"] == "conference-paper" and paper["year"] == 2023
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"{', '.join(names[:-1])} and {names[-1]}: *{paper['title']}*, ICCV {paper['year']}" in readme


def test_the_licence_is_the_one_that_is_named():
    text = " ".join((ROOT / "LICENSE").read_text().split())
    assert text.startswith("Apache License Version 2.0, January 2004")
    assert "END OF TERMS AND CONDITIONS" in text
    assert of_project("license") == "Apache-2.0"


def test_the_workflow_calls_make_targets_on_the_oldest_python():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-2:] == ["make quality", "make test"]
    assert job["strategy"]["matrix"]["python"][0] == of_project("requires-python").removeprefix(">=")
    targets = [command.split()[1] for command in commands[-2:]]
    subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, check=True, capture_output=True)


def test_contributing_names_what_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = {path for path in re.findall(r"`([\w./]+)`", text) if "/" in path}
    missing = [
        path for path in sorted(paths) if not (ROOT / path).exists() and not (ROOT / "modeling_sat" / path).exists()
    ]
    assert paths and not missing, missing
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE)) <= set(targets)
    assert len(text.splitlines()) <= 100
