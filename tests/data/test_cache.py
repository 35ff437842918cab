import os
import pickle
from dataclasses import replace

import datasets
import pytest

from modeling_sat.data import DatasetError, load_wsol_dataset, loading
from modeling_sat.data.cache import cached_table, state_of
from modeling_sat.data.masks import MaskFiles
from modeling_sat.data.schema import Example, to_dataset


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache/modeling_sat"


@pytest.fixture
def small_tables_are_cached(cache, monkeypatch):
    monkeypatch.setattr(loading, "MIN_ROWS", 1)
    return cache


class Build:
    """Builds a table of one row, and counts how often."""

    def __init__(self, image_id="a", may_be_kept=True):
        self.image_id, self.may_be_kept, self.calls = image_id, may_be_kept, 0

    def __call__(self, file):
        self.calls += 1
        examples = [Example(b"", self.image_id, 0, [(1, 2, 3, 4)])]
        return to_dataset(examples, ["cat", "dog"], file=file), self.may_be_kept


def never(*_, **__):
    raise AssertionError("This was to come from the cache")


def files(folder):
    return sorted(folder.iterdir()) if folder.exists() else []


def test_same_state_gives_the_same_table_without_building(cache):
    first = cached_table("request", "state", Build())
    again = cached_table("request", "state", never)
    assert again["image_id"][:] == ["a"] and again["boxes"][:] == [[[1, 2, 3, 4]]]
    assert again.data.table.equals(first.data.table)
    assert again.features == first.features


def test_another_state_replaces_the_file(cache):
    old = cached_table("request", "state", Build("a"))
    (kept,) = files(cache)
    assert cached_table("request", "other state", Build("b"))["image_id"][:] == ["b"]
    assert len(files(cache)) == 1 and files(cache) != [kept]
    assert old["image_id"][:] == ["a"]


def test_another_request_has_its_own_file(cache):
    cached_table("request", "state", Build("a"))
    cached_table("other request", "state", Build("b"))
    assert len(files(cache)) == 2
    assert cached_table("request", "state", never)["image_id"][:] == ["a"]


def test_table_that_may_not_be_kept(cache):
    build = Build(may_be_kept=False)
    for _ in range(2):
        assert cached_table("request", "state", build)["image_id"][:] == ["a"]
    assert build.calls == 2 and files(cache) == []


def test_unwritable_folder(cache, caplog):
    cache.parent.touch()
    build = Build()
    for _ in range(2):
        assert cached_table("request", "state", build)["image_id"][:] == ["a"]
    assert build.calls == 2
    assert "The table of images could not be cached" in caplog.text


@pytest.mark.parametrize("error", [DatasetError, KeyboardInterrupt])
def test_failing_build_leaves_nothing_behind(cache, error):
    def fail(file):
        file.write_bytes(b"half a table")
        raise error

    with pytest.raises(error):
        cached_table("request", "state", fail)
    assert files(cache) == []


def test_failing_build_leaves_the_earlier_table(cache):
    cached_table("request", "state", Build())
    with pytest.raises(AssertionError):
        cached_table("request", "other state", never)
    assert cached_table("request", "state", never)["image_id"][:] == ["a"]


@pytest.mark.parametrize("content", [b"no table", None])
def test_damaged_file_is_built_anew(cache, content):
    cached_table("request", "state", Build())
    (file,) = files(cache)
    whole = file.read_bytes()
    file.unlink()  # the first table still reads it
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert cached_table("request", "state", Build("b"))["image_id"][:] == ["b"]


@pytest.fixture
def example(tmp_path, write_image):
    masks = [write_image(tmp_path / f"mask{number}.png") for number in (0, 1, 2)]
    image = write_image(tmp_path / "image.png")
    return Example(image, "image.png", 0, [(1, 2, 3, 4)], MaskFiles((masks[0], masks[1]), masks[2]), (20, 10))


def test_state_is_the_same_for_the_same_files(example):
    assert state_of([example], ["cat", "dog"]) == state_of(iter([replace(example)]), iter(["cat", "dog"]))


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "b"},
        {"label": 1},
        {"boxes": []},
        {"boxes": [(1, 2, 3, 5)]},
        {"mask": None},
        {"annotated_size": (4, 2)},
    ],
)
def test_state_changes_with_the_annotation(example, change):
    assert state_of([example], ["cat", "dog"]) != state_of([replace(example, **change)], ["cat", "dog"])


def test_state_changes_with_the_classes_and_the_order(example):
    other = replace(example, label=1)
    states = [state_of(examples, names) for examples in ([example, other], [other, example]) for names in ("ab", "ba")]
    assert len({*states, state_of([example], "ab")}) == 5


@pytest.mark.parametrize("name", ["image.png", "mask0.png", "mask1.png", "mask2.png"])
def test_state_changes_with_the_files(example, tmp_path, name):
    states = {state_of([example], ["cat"])}
    stat = (tmp_path / name).stat()
    os.utime(tmp_path / name, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    states.add(state_of([example], ["cat"]))
    (tmp_path / name).write_bytes(b"longer" * 1000)
    os.utime(tmp_path / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    states.add(state_of([example], ["cat"]))
    (tmp_path / name).unlink()
    states.add(state_of([example], ["cat"]))
    assert len(states) == 4


def test_checked_images_are_not_checked_again(class_folders, small_tables_are_cached, monkeypatch):
    first = load_wsol_dataset("folder", class_folders)
    with monkeypatch.context() as patch:
        patch.setattr(loading, "checked_examples", never)
        again = load_wsol_dataset("folder", class_folders)
    assert again["train"]["image_id"][:] == first["train"]["image_id"][:]
    assert again["train"][0]["image"].size == (20, 10)


def test_changed_image_is_checked_again(class_folders, small_tables_are_cached):
    load_wsol_dataset("folder", class_folders)
    (class_folders / "train/cat/1.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"train/cat/1.png: the image cannot be decoded"):
        load_wsol_dataset("folder", class_folders)


def test_table_with_images_left_out_is_not_kept(class_folders, small_tables_are_cached, caplog):
    (class_folders / "train/cat/1.png").write_bytes(b"no image")
    for _ in range(2):
        caplog.clear()
        assert len(load_wsol_dataset("folder", class_folders, "train", on_bad_image="skip")) == 5
        assert "Left out 1 bad image of the train split" in caplog.text
    assert files(small_tables_are_cached) == []


def test_a_new_table_travels_to_other_processes(tmp_path):
    table = cached_table("request", "state", lambda file: (to_dataset([Example(b"", "a", 0)], ["x"], file=file), True))
    assert pickle.loads(pickle.dumps(table))["image_id"][:] == table["image_id"][:]
