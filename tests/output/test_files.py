import json
import math

import pytest

from modeling_sat.output.files import (
    as_json,
    folder_written_aside,
    path_written_aside,
    read_json,
    write_json,
    written_aside,
)


class Killed(BaseException):
    pass


def test_what_was_there_stays_until_the_new_is_whole(tmp_path):
    file = tmp_path / "annotations.json"
    file.write_text("old")
    for error in (OSError, Killed):
        with pytest.raises(error), written_aside(file) as opened:
            opened.write("half")
            opened.flush()
            raise error
        assert file.read_text() == "old"
    with written_aside(file) as opened:
        opened.write("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["annotations.json"]


def test_a_library_that_writes_nothing_is_noticed(tmp_path):
    with pytest.raises(FileNotFoundError), path_written_aside(tmp_path / "data.yaml"):
        pass


def test_the_files_of_a_folder_come_together(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "kept.txt").write_text("by hand")
    (tmp_path / ".being-written-labels").mkdir()
    (tmp_path / ".being-written-labels" / "of a killed run.txt").touch()
    with pytest.raises(Killed), folder_written_aside(folder) as aside:
        (aside / "a.txt").write_text("half")
        raise Killed
    assert [file.name for file in folder.iterdir()] == ["kept.txt"]
    with folder_written_aside(folder) as aside:
        (aside / "deep").mkdir()
        (aside / "deep" / f"{'a' * 251}.txt").write_text("whole")
        assert not (folder / "deep").exists()
    assert (folder / "deep" / f"{'a' * 251}.txt").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_nan(tmp_path, value):
    content = {"metrics": {"top1_cls": 0.5, "boxes": [[1.0, value]]}}
    with pytest.raises(ValueError, match=r"metrics\.boxes\.0\.1 is -?(nan|inf)"):
        as_json(content)
    with pytest.raises(ValueError, match="which JSON does not have"):
        write_json(tmp_path / "metrics.json", content)
    assert not list(tmp_path.iterdir())


def test_json_comes_back(tmp_path):
    write_json(tmp_path / "metrics.json", {"top1_cls": 0.1, "threshold": None})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"top1_cls": 0.1, "threshold": None}


@pytest.mark.parametrize(
    ("text", "problem"), [("[1]", "it holds a list; a mapping was expected"), ('{"a": ', "Expecting value")]
)
def test_json_that_is_no_mapping(tmp_path, text, problem):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=problem):
        read_json(tmp_path / "a.json")


def test_what_is_written_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Möwe"})
    assert read_json(tmp_path / "a.json") == {"name": "Möwe"}
