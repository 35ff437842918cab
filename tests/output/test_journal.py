import json
import warnings
from pathlib import Path

import pytest

from modeling_sat.output.journal import Journal


SETTINGS = {"model": "apples", "threshold": None, "checkpoint": [["config.json", 12]]}
ENTRIES = [
    {"image": f"photographs/{index} Ä\udc80.jpg", "width": 3, "objects": [{"score": 1 / 3, "box": [0.1, 1e-7, 2, 3]}]}
    for index in range(6)
]


def journal(folder: Path, **settings) -> Journal:
    return Journal(folder / "unfinished.jsonl", SETTINGS | settings, name="image")


def written(folder: Path, entries=ENTRIES, **settings) -> Path:
    begun = journal(folder, **settings)
    with begun.opened() as lines:
        for entry in entries:
            begun.append(lines, entry)
    return begun.file


@pytest.fixture
def file(tmp_path) -> Path:
    return written(tmp_path)


def changed(number: int, change) -> callable:
    """Replaces line `number`, the settings being line 0."""

    def damage(file: Path) -> None:
        lines = file.read_bytes().splitlines(keepends=True)
        lines[number : number + 1] = [change(lines[number])]
        file.write_bytes(b"".join(lines))

    return damage


def without(key: str):
    def change(line: bytes) -> bytes:
        content = json.loads(line)
        del content[key]
        return json.dumps(content).encode() + b"\n"

    return change


def of_another_run(file: Path) -> None:
    (file.parent / "other").mkdir()
    foreign = written(file.parent / "other", [ENTRIES[3]], threshold=0.3)
    changed(4, lambda line: foreign.read_bytes().splitlines(keepends=True)[1])(file)


DAMAGES = {
    "doubled": (changed(4, lambda line: line * 2), 4),
    "two lines in one": (changed(4, lambda line: line.strip() + line), 3),
    "blank": (changed(4, lambda line: b"\n" + line), 3),
    "spaces": (changed(4, lambda line: b"  \n" + line), 3),
    "null": (changed(4, lambda line: b"null\n"), 3),
    "list": (changed(4, lambda line: b"[1]\n"), 3),
    "string": (changed(4, lambda line: b'"image"\n'), 3),
    "empty mapping": (changed(4, lambda line: b"{}\n"), 3),
    "block of NUL": (changed(4, lambda line: b"\0" * 4096 + b"\n"), 3),
    "NUL to the end": (changed(4, lambda line: b"\0" * 4096), 3),
    "NUL in a line": (changed(4, lambda line: line[:20] + b"\0\0" + line[22:]), 3),
    "missing key": (changed(4, without("objects")), 3),
    "missing name": (changed(4, without("image")), 3),
    "missing checksum": (changed(4, without("checksum")), 3),
    "half a character": (changed(4, lambda line: line.replace(b'"photo', b'"\xc3photo')), 3),
    "not UTF-8": (changed(4, lambda line: b"\xff\xfe" + line), 3),
    "another digit": (changed(4, lambda line: line.replace(b"0.33333", b"0.43333")), 3),
    "NaN": (changed(4, lambda line: line.replace(b"0.3333333333333333", b"NaN")), 3),
    "deep brackets": (changed(4, lambda line: b"[" * 100_000 + b"\n"), 3),
    "settings again": (changed(4, lambda line: json.dumps(SETTINGS).encode() + b"\n"), 3),
    "entry of another run": (of_another_run, 3),
    "cut in the last line": (lambda file: file.write_bytes(file.read_bytes()[:-20]), 5),
    "cut before the last line's end": (lambda file: file.write_bytes(file.read_bytes()[:-1]), 5),
    "rubbish at the end": (lambda file: file.write_bytes(file.read_bytes() + b"\x00\x01rubbish"), 6),
    "settings cut": (lambda file: file.write_bytes(file.read_bytes()[:10]), 0),
    "settings gone": (changed(0, lambda line: b""), 0),
    "settings null": (changed(0, lambda line: b"null\n"), 0),
    "empty file": (lambda file: file.write_bytes(b""), 0),
    "NUL alone": (lambda file: file.write_bytes(b"\0" * 4096), 0),
    "Windows line ends": (lambda file: file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n")), 0),
    "byte order mark": (lambda file: file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes()), 0),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_back_to_the_last_good_line(file, name):
    damage, good = DAMAGES[name]
    damage(file)
    resumed = journal(file.parent)
    with pytest.warns(UserWarning, match=rf"unfinished.jsonl .* for nothing, .* is done again; {good} before") as said:
        offsets = resumed.resume()
    assert len(said) == 1
    assert list(offsets) == [entry["image"] for entry in ENTRIES[:good]]
    with resumed.opened() as lines:
        for entry in ENTRIES[good:]:
            resumed.append(lines, entry)
    whole = file.read_bytes()
    file.unlink()
    assert whole == written(file.parent).read_bytes()


def test_the_count_is_said(file):
    changed(4, lambda line: b"null\n")(file)
    with pytest.warns(
        UserWarning, match="line 5. 3 entries count for nothing, and what they held is done again; 3 before"
    ):
        journal(file.parent).resume()


def test_a_whole_journal_says_nothing(file):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        offsets = journal(file.parent).resume()
    assert list(journal(file.parent).entries(offsets.values())) == ENTRIES


def test_another_run_counts_for_nothing(file):
    with pytest.warns(UserWarning, match="is of a run with another threshold. 6 entries count for nothing"):
        assert not journal(file.parent, threshold=0.3).resume()
    assert not file.exists()


def test_no_journal(tmp_path):
    assert journal(tmp_path).resume() == journal(tmp_path).offsets() == {}


def test_numbers_that_are_not_finite_do_not_get_in(tmp_path):
    begun = journal(tmp_path)
    with begun.opened() as lines, pytest.raises(ValueError, match="score is nan"):
        begun.append(lines, {"image": "a", "score": float("nan")})
    assert not begun.offsets()
