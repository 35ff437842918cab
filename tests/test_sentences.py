import pytest

from modeling_sat.sentences import counted, first_line, listed, some


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no such file.\nTraceback"), "no such file"),
        (OSError(2, "No such file"), "[Errno 2] No such file"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_first_line(error, said):
    assert first_line(error) == said


def test_counted():
    assert [counted(number, "image") for number in (0, 1, 1200)] == ["0 images", "1 image", "1,200 images"]
    assert counted(2, "class", "classes") == "2 classes"


def test_long_lists_are_cut():
    names = [f"n{number}" for number in range(12)]
    assert some(names[:2]) == "n0, n1"
    assert some(names) == ", ".join(names[:10]) + ", …"
    assert listed(names).splitlines()[-2:] == ["  - n9", "  … and 2 more"]
