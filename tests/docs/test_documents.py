"""README, docs/, CONTRIBUTING and CHANGELOG name only what exists: files, headings, recipes, options, and numbers."""

import ast
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from modeling_sat.reproduction.recipes import TRAINING_FIELDS
from modeling_sat.training import parse_arguments
from modeling_sat.training.arguments import read_config


ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("docs/*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
TEXTS = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in DOCUMENTS}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Every call of a script in a block, without the launcher's own options."""
    lines = [
        line.strip()
        for text in TEXTS.values()
        for block in blocks(text, "bash")
        for line in block.replace("\\\n", " ").replace("$seed", "6").splitlines()
    ]
    return sorted({re.sub(r"\s+#.*", "", line[line.index("scripts/") :]) for line in lines if ".py " in line})


def heading_ids(text: str) -> set[str]:
    """As GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 170


def test_readme_leads_to_every_document():
    linked = set(re.findall(r"\]\((docs/[\w.]+)\)", TEXTS["README.md"]))
    assert linked == {name for name in TEXTS if name.startswith("docs/")}


@pytest.mark.parametrize("name", TEXTS)
def test_links_resolve(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if target.startswith(("http://", "https://")):
            continue
        path, _, heading = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name} links to {target}"
        assert not heading or heading in heading_ids(file.read_text(encoding="utf-8")), f"{name} links to {target}"


@pytest.mark.parametrize("name", TEXTS)
def test_named_scripts_and_recipes_exist(name):
    for path in re.findall(r"\bscripts/[\w/.]+\.(?:py|yaml)", TEXTS[name]):
        if path.endswith(".py"):
            assert (ROOT / path).is_file(), path
        else:
            assert read_config(ROOT / path), path
    for recipe in re.findall(r"`(\w+/deit_\w+\.yaml)`", TEXTS[name]):
        assert read_config(ROOT / "scripts" / "configs" / recipe), recipe


@pytest.mark.parametrize("name", TEXTS)
def test_python_parses_and_imports_what_exists(name):
    for block in blocks(TEXTS[name], "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                exec(compile(ast.Module([node], []), name, "exec"), {})


@pytest.mark.parametrize("command", commands())
def test_options_of_commands_exist(command, monkeypatch, capsys):
    script, *options = [part for part in shlex.split(command.replace("$PWD/", "")) if part != "…"]
    if script == "scripts/train.py":
        monkeypatch.chdir(ROOT)
        parse_arguments(options)
        return
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / script), run_name="__main__")
    known = set(re.findall(r"--\w+", capsys.readouterr().out))
    if script in ("scripts/reproduce.py", "scripts/compare.py"):  # any further field goes to every training
        known |= {f"--{name}" for name in TRAINING_FIELDS}
    assert {option for option in options if option.startswith("--")} <= known


def test_there_are_commands():
    scripts = {path.name for path in (ROOT / "scripts").glob("*.py")}
    assert {command.split()[0].removeprefix("scripts/") for command in commands()} == scripts


def test_readme_repeats_the_results():
    """Its table has numbers of the tables in docs/evaluation.md, whose commands stand beside them."""
    table = TEXTS["README.md"].split("## Results")[1].split("\n## ")[0]
    rows = [re.findall(r"\b\d+\.\d\b", line) for line in table.splitlines() if "**" in line]
    tables = [set(re.findall(r"\b\d+\.\d\b", part)) for part in TEXTS["docs/evaluation.md"].split("\n\n")]
    assert len(rows) >= 3
    for row in rows:
        assert any(set(row) <= numbers for numbers in tables), row
