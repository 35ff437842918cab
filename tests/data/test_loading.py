import pytest

from modeling_sat.data import DatasetError, load_wsol_dataset


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "shape"}, "no dataset 'shape'. Did you mean 'shapes'. There are cub, imagenet, openimages30k"),
        (
            {"name": "shapes", "split": "tets"},
            "no split 'tets'. Did you mean 'test'. There are train, validation, test",
        ),
        ({"name": "shapes", "num_clases": 3}, "no option 'num_clases'. Did you mean 'num_classes'"),
        ({"name": "shapes", "validation_fraction": 1.5}, "validation_fraction is 1.5"),
        ({"name": "shapes", "on_bad_image": "ignore"}, "on_bad_image is 'ignore'"),
        ({"name": "folder"}, "pass data_dir"),
        ({"name": "folder", "data_dir": "/no/such/folder"}, "/no/such/folder does not exist; / holds"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(DatasetError, match=message):
        load_wsol_dataset(**arguments)


def test_data_dir_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="is a file"):
        load_wsol_dataset("folder", tmp_path / "file")


def test_train_is_whole_by_default_and_split_on_request(class_folders):
    assert set(load_wsol_dataset("folder", class_folders)) == {"train", "test"}
    assert len(load_wsol_dataset("folder", class_folders, "train")) == 6

    splits = load_wsol_dataset("folder", class_folders, validation_fraction=0.3)
    assert list(splits) == ["train", "validation", "test"]
    assert {name: len(table) for name, table in splits.items()} == {"train": 4, "validation": 2, "test": 2}
    assert sorted(splits["validation"]["label"]) == [0, 1]
    for name, table in splits.items():
        alone = load_wsol_dataset("folder", class_folders, name, validation_fraction=0.3)
        assert alone["image_id"][:] == table["image_id"][:]


def test_validation_of_a_benchmark_without_one(class_folders):
    with pytest.raises(DatasetError, match=r"no validation split here, only train, test\. Pass validation_fraction"):
        load_wsol_dataset("folder", class_folders, "validation")


def test_validation_where_no_class_has_two_images(tmp_path, write_image):
    for name in "ab":
        write_image(tmp_path / name / "0.png")
    with pytest.raises(DatasetError, match="No class of folder has two training images"):
        load_wsol_dataset("folder", tmp_path, validation_fraction=0.5)


def test_validation_fraction_leaves_an_official_validation_split_alone():
    splits = load_wsol_dataset(
        "shapes", split=["train", "validation"], validation_fraction=0.5, num_train=20, num_validation=4
    )
    assert {name: len(table) for name, table in splits.items()} == {"train": 20, "validation": 4}
