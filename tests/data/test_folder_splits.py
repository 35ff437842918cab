"""Which folders are splits, which are classes, and what is said of the others."""

import logging

import pytest

from modeling_sat.data import DatasetError, MissingSplitError, load_wsol_dataset
from modeling_sat.data.loading import print_what_was_found, what_was_found


@pytest.fixture
def make(tmp_path, write_image):
    """Writes so many images into each folder."""

    def write(folders: dict[str, int]):
        for path, number in folders.items():
            for index in range(number):
                write_image(tmp_path / path / f"{index}.png")
        return tmp_path

    return write


def found(folder) -> dict[str, tuple[list[str], int]]:
    tables = load_wsol_dataset("folder", folder)
    return {split: (table.features["label"].names, len(table)) for split, table in tables.items()}


CAT_DOG = ["cat", "dog"]


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("Training", "Testing", "test"),
        ("TRAIN", "Test", "test"),
        ("train", "dev", "validation"),
        ("train", "eval", "test"),
        ("training", "evaluation", "test"),
        ("train2017", "val2017", "validation"),
        ("00_train", "01-test", "test"),
        ("my train.images", "my valid.images", "validation"),
        ("training_set/training_set", "test_set/test_set", "test"),
        ("train/train", "val/val", "validation"),
        ("archive/Train", "archive/Test", "test"),
        ("images/train", "images/val", "validation"),
        ("a/b/train", "a/b/dev", "validation"),
    ],
)
def test_names_of_splits(make, train, other, split):
    folder = make({f"{train}/cat": 3, f"{train}/dog": 3, f"{other}/cat": 1, f"{other}/dog": 1})
    assert found(folder) == {"train": (CAT_DOG, 6), split: (CAT_DOG, 2)}


def test_numbered_parts_of_a_split(make):
    folder = make({"train_1/cat": 2, "train_1/dog": 2, "train_2/cat": 1, "train_2/dog": 1})
    assert found(folder) == {"train": (CAT_DOG, 6)}


def test_names_of_two_splits(make):
    with pytest.raises(DatasetError, match=r"train_val names 2 splits, train and validation.* Rename it to train"):
        found(make({"train_val/cat": 1, "train_val/dog": 1, "test/cat": 1}))


def test_files_with_names_of_splits(tmp_path, write_image, caplog):
    for name in CAT_DOG:
        for file in ("train_0", "train_1", "test-0"):
            write_image(tmp_path / name / f"{file}.png")
    assert found(tmp_path) == {"train": (CAT_DOG, 4), "test": (CAT_DOG, 2)}
    write_image(tmp_path / "cat/other.png")
    assert found(tmp_path) == {"train": (CAT_DOG, 7)}
    assert "6 of 7 images have names of a split (train, test), but the others do not" in caplog.text


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (["train", "bus", "car"], ["bus", "car", "train"]),
        (["test_tube", "beaker", "flask"], ["beaker", "flask", "test_tube"]),
        (["toy train", "steam train"], ["steam train", "toy train"]),
    ],
)
def test_classes_with_names_of_splits(make, folders, classes, caplog):
    assert found(make(dict.fromkeys(folders, 2))) == {"train": (classes, 2 * len(classes))}
    assert "read as classes, not as splits" in caplog.text


def test_class_train_with_boxes_of_its_own_name(make, write_voc):
    folder = make({"train": 2, "bus": 2})
    for name in ("train", "bus"):
        for number in range(2):
            write_voc(folder / name / f"{number}.xml", (name, 1, 1, 5, 5))
    assert found(folder) == {"train": (["bus", "train"], 4)}


def test_class_train_within_splits(make):
    folder = make({"train/train": 2, "train/bus": 2, "test/train": 1, "test/bus": 1})
    assert found(folder) == {"train": (["bus", "train"], 4), "test": (["bus", "train"], 2)}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["cat/train", "cat/test", "dog/train", "dog/test"], "swap the levels, test/cat instead of cat/test"),
        (["fruit/train/apple", "cars/train/bmw"], "pass one of them, such as data_dir=.*cars"),
        (["site1/cat", "site1/dog", "site2/cat", "site2/dog"], r"folders of the same names \(cat, dog\)"),
        (["learn/cat", "learn/dog", "apply/cat", "apply/dog"], r"folders of the same names \(cat, dog\)"),
        (["trainset/Cat", "trainset/dog", "testset/cat", "testset/dog"], r"folders of the same names \(cat, dog\)"),
        (["train/site1/cat", "train/site2/cat"], r"folders of the same names \(cat\)"),
        (
            ["dataset/cat", "dataset/dog"],
            "single folder dataset, which holds the folders cat, dog.*data_dir=.*/dataset",
        ),
        (["a/b/cat", "a/b/dog"], "pass data_dir=.*a/b"),
        (["train/pets/cat", "train/pets/dog"], "single folder pets.* move them up"),
    ],
)
def test_unclear_folders_are_refused(make, folders, message):
    with pytest.raises(DatasetError, match=message):
        found(make(dict.fromkeys(folders, 2)))


def test_images_in_a_folder_of_each_class(make):
    assert found(make({"train/n1/images": 2, "train/n2/images": 2})) == {"train": (["n1", "n2"], 4)}


def test_folders_that_are_not_read_are_named(make, write_image, caplog):
    folder = make({"train/cat": 2, "train/dog": 2, "extra/cat": 3, "new": 1})
    (folder / "notes").mkdir()
    write_image(folder / "logo.png")
    assert found(folder) == {"train": (CAT_DOG, 4)}
    for sentence in ("extra/ (3 images)", "new/ (1 image)", "notes/ (no images)", "1 image beside folders (logo.png"):
        assert sentence in caplog.text


@pytest.mark.parametrize("folder", ["test", "Testing", "test_images", "val", "test/unknown", "test/images"])
def test_unlabelled_split_does_not_stop_training(make, folder, caplog):
    root = make({"train/cat": 2, "train/dog": 2, folder: 3})
    assert found(root) == {"train": (CAT_DOG, 4)}
    split = "validation" if folder == "val" else "test"
    assert f"The {split} split is not read. " in caplog.text
    with pytest.raises(
        MissingSplitError, match=f"no {split} split here, only train: .*(no label|gives any|no such class)"
    ):
        load_wsol_dataset("folder", root, split)


def test_class_folders_beside_a_test_folder(make):
    assert found(make({"cat": 2, "dog": 2, "test/cat": 1, "test/dog": 1})) == {
        "train": (CAT_DOG, 4),
        "test": (CAT_DOG, 2),
    }


def test_class_folders_beside_an_unlabelled_test_folder(make):
    assert found(make({"cat": 2, "dog": 2, "test": 3})) == {"train": (CAT_DOG, 4)}


def test_training_folder_of_another_name_is_named(make):
    folder = make({"Learn/cat": 2, "Learn/dog": 2, "Test/cat": 1, "Test/dog": 1})
    with pytest.raises(MissingSplitError, match=r"only test: .*beside Test; rename the folder Learn to train"):
        load_wsol_dataset("folder", folder, "train")


def test_split_to_pass_is_named(make):
    folder = make({"train/cat": 2, "train/dog": 2})
    with pytest.raises(MissingSplitError, match='Pass split="train"'):
        load_wsol_dataset("folder", folder, "test")
    with pytest.raises(MissingSplitError, match=r"--split validation of evaluate.py"):
        load_wsol_dataset("folder", folder, "test", validation_fraction=0.5)


def test_class_folder_in_other_case(make):
    folder = make({"train/Cat": 2, "train/Dog": 2, "test/cat": 1, "test/dog": 1})
    assert found(folder)["test"] == (["Cat", "Dog"], 2)


def test_what_was_found_is_logged_and_said(make, write_jsonl, caplog, capsys):
    folder = make({"train/cat": 2, "train/dog": 1, "test/cat": 1})
    write_jsonl(folder / "train/metadata.jsonl", {"file_name": "cat/0.png", "objects": {"bbox": [[1, 1, 2, 2]]}})
    with caplog.at_level(logging.INFO):
        tables = load_wsol_dataset("folder", folder)
    expected = ["train: 2 classes (cat, dog), 3 images, 1 of them with boxes", "test: 1 class (cat), 1 image"]
    assert what_was_found(tables) == expected
    assert f"folder: {expected[0]}" in caplog.text
    print_what_was_found(tables)
    assert capsys.readouterr().out.splitlines() == expected


def test_many_classes_are_counted(make):
    tables = load_wsol_dataset("folder", make({f"{number:02}": 1 for number in range(12)}))
    assert what_was_found(tables) == ["train: 12 classes (00, 01, 02, 03, 04, 05, 06, 07, 08, 09, …), 12 images"]
