import re
from pathlib import Path

import pytest

from modeling_sat.data.lists import (
    distinct_names,
    image_paths,
    read_rows,
    require_known,
    require_same_keys,
    unique,
    whole_number,
)
from modeling_sat.data.schema import DatasetError


COLUMNS = {"number": int, "name": str}


@pytest.fixture
def read(tmp_path):
    def read(content, columns=COLUMNS, **options):
        file = tmp_path / "lists/images.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_rows(file, tmp_path, columns, **options)

    return read


@pytest.mark.parametrize(
    "content",
    [
        "1 a b.jpg\n2 ü.jpg\n",
        "1 a b.jpg\n2 ü.jpg",
        "1 a b.jpg\r\n2 ü.jpg\r\n",
        "\ufeff1 a b.jpg\n2 ü.jpg\n",
        "\ufeff1 a b.jpg\r\n\r\n2 ü.jpg",
        "\n1\ta b.jpg  \n   \n 2  ü.jpg\n\n",
    ],
)
def test_lines(read, content):
    assert read(content) == [(1, "a b.jpg"), (2, "ü.jpg")]


def test_separator(read):
    assert read("1, a b, c.jpg\r\n2,d.jpg\r\n", separator=",") == [(1, "a b, c.jpg"), (2, "d.jpg")]


def test_empty_file(read):
    assert read("") == read("\ufeff\r\n") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 a.jpg\n2\n", r"line 2: '2' \(2 columns were expected\)"),
        ("1 a.jpg\r\n\r\nx b.jpg", r"line 3: 'x b.jpg' \(invalid literal for int"),
        ("\ufeffa\n", "line 1: 'a' "),
        (f"{'x' * 100} b", f"line 1: '{'x' * 80}' "),
        ("a\n" * 12, "line 10: 'a' .*\n  … and 2 more"),
    ],
)
def test_unreadable_lines_are_named(read, content, message):
    with pytest.raises(
        DatasetError, match=r"lists/images.txt has unreadable lines; number, name were expected"
    ) as error:
        read(content)
    assert re.search(message, str(error.value))
    assert "separated by white space" in str(error.value) and "Correct or remove them" in str(error.value)


def test_separator_is_named(read):
    with pytest.raises(DatasetError, match=r"separated by ',':\n  - line 1: '1 a.jpg'"):
        read("1 a.jpg", separator=",")


@pytest.mark.parametrize("content", ["1 ü.jpg".encode("latin-1"), "1 a.jpg".encode("utf-16")])
def test_file_that_is_not_utf_8(read, content):
    with pytest.raises(DatasetError, match=r"lists/images.txt cannot be read as a text file \(.*Unpack it again"):
        read(content)


def test_absent_file(tmp_path):
    with pytest.raises(DatasetError, match=r"images.txt cannot be read as a text file"):
        read_rows(tmp_path / "images.txt", tmp_path, COLUMNS)


def test_unique():
    file, root = Path("/data/images.txt"), Path("/data")
    assert unique([(1, "a"), (2, "b")], file, root) == {1: "a", 2: "b"}
    assert unique([(1, "a", 3), (2, "b", 4)], file, root) == {1: ("a", 3), 2: ("b", 4)}
    assert unique([], file, root) == {}
    with pytest.raises(DatasetError, match=r"images.txt names the same thing twice:\n  - 1\nKeep one line of each"):
        unique([(1, "a"), (2, "b"), (1, "a")], file, root)


def test_same_keys():
    require_same_keys({"images.txt": {1: "a", 2: "b"}, "labels.txt": {2: 0, 1: 0}})
    with pytest.raises(DatasetError, match=r"labels.txt has 1 entries and images.txt 2; it lacks:\n  - 2\n"):
        require_same_keys({"images.txt": {1: "a", 2: "b"}, "boxes.txt": {1: 0, 2: 0}, "labels.txt": {1: 0}})
    with pytest.raises(DatasetError, match=r"labels.txt has 2 entries and images.txt 1, which lacks:\n  - 2\n"):
        require_same_keys({"images.txt": {1: "a"}, "labels.txt": {1: 0, 2: 0}})


def test_known_names():
    file, root = Path("/data/labels.txt"), Path("/data")
    require_known(["a", "b", "a"], ["a", "b"], file, root, "classes.txt")
    with pytest.raises(DatasetError, match=r"labels.txt has classes that classes.txt lacks:\n  - c\n  - d\nAdd them"):
        require_known(iter("dacd"), iter("ab"), file, root, "classes.txt")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("a\\b.jpg", "a/b.jpg"),
        ("./a//b.jpg", "a/b.jpg"),
        ("a/../b.jpg", "b.jpg"),
        ("..a/b..jpg", "..a/b..jpg"),
        ("~/b c.jpg", "~/b c.jpg"),
    ],
)
def test_image_paths(name, path):
    assert image_paths(Path("/data"), [name], Path("/data/images.txt")) == [Path("/data") / path]


@pytest.mark.parametrize(
    "name",
    [
        "../a.jpg",
        "a/../../b.jpg",
        "a\\..\\..\\b.jpg",
        "..",
        "/etc/passwd",
        "//server/a.jpg",
        "\\\\server\\a.jpg",
        "C:\\a.jpg",
        "c:/a.jpg",
        "C:a.jpg",
        "x/../C:/a.jpg",
        ".",
        "",
    ],
)
def test_image_paths_that_lead_out(name):
    with pytest.raises(DatasetError, match=r"names files outside /data/images, which are not read:") as error:
        image_paths(Path("/data/images"), ["fine.jpg", name], Path("/data/list.txt"))
    assert f"  - {name}\n" in str(error.value) and "fine.jpg" not in str(error.value)


def test_distinct_names():
    names = {"n1": "crane", "n2": "crane", "n3": "wren"}
    assert distinct_names(names) == ["crane (n1)", "crane (n2)", "wren"]


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("12.0", 12), ("-3", -3)])
def test_whole_number(text, number):
    assert whole_number(text) == number and isinstance(whole_number(text), int)


@pytest.mark.parametrize("text", ["1.5", "x", "", "inf", "nan"])
def test_no_whole_number(text):
    with pytest.raises(ValueError):
        whole_number(text)
