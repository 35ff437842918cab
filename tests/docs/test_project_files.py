"""What the files beside the code say of the project agrees with it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

import modeling_sat


ROOT = Path(__file__).parents[2]


def of_project(field: str) -> str:
    """A text of pyproject.toml's [project]; Python 3.10 has no parser of TOML."""
    project = (ROOT / "pyproject.toml").read_text().split("[project]\n")[1].split("\n[")[0]
    return re.search(rf'^{field} = "(.+)"$', project, re.MULTILINE)[1]


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
