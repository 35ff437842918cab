import json

import datasets
import numpy as np
import pytest
from PIL import Image

from modeling_sat.data import DatasetError, load_wsol_dataset
from modeling_sat.data.fgvc_aircraft import BannerlessImage
from modeling_sat.data.preparation import PreparationSettings, card, prepare_dataset


@pytest.fixture
def boxed_folder(class_folders, write_jsonl):
    for split, names in (("train", "012"), ("test", "9")):
        write_jsonl(
            class_folders / split / "metadata.jsonl",
            *({"file_name": f"cat/{name}.png", "objects": {"bbox": [[2, 1, 10, 5]]}} for name in names),
        )
    return class_folders


def prepare(folder, output_dir, **settings):
    return prepare_dataset(PreparationSettings("folder", str(output_dir), str(folder), images_per_shard=4, **settings))


def assert_equal_columns(loaded, written):
    assert loaded.features == written.features
    for column in ("image_id", "label", "boxes"):
        assert loaded[column][:] == written[column][:]
    for image, expected in zip(loaded["image"], written["image"], strict=True):
        assert (np.asarray(image) == np.asarray(expected)).all()


def test_what_is_loaded_again_is_equal(boxed_folder, tmp_path):
    written = prepare(boxed_folder, tmp_path / "out")
    loaded = load_wsol_dataset(str(tmp_path / "out"))
    assert sorted(file.name for file in (tmp_path / "out/data").iterdir()) == [
        "test-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet",
    ]  # fmt: skip
    assert list(loaded) == ["train", "test"]
    for split in loaded:
        assert_equal_columns(loaded[split], written[split])


def test_masks_too(tmp_path):
    options = {"num_classes": 2, "num_train": 4, "num_validation": 0, "num_test": 2}
    written = prepare_dataset(PreparationSettings("shapes", str(tmp_path), dataset_options=options))
    loaded = load_wsol_dataset(str(tmp_path))
    assert_equal_columns(loaded["train"], written["train"])
    for mask, expected in zip(loaded["test"]["mask"], written["test"]["mask"], strict=True):
        assert (np.asarray(mask) == np.asarray(expected)).all()


def test_files_are_stored_byte_for_byte(boxed_folder, tmp_path):
    prepare(boxed_folder, tmp_path / "out", splits=["test"])
    stored = load_wsol_dataset(str(tmp_path / "out"), split="test").cast_column("image", datasets.Image(decode=False))
    assert stored[0]["image"]["bytes"] == (boxed_folder / "test/cat/9.png").read_bytes()


def test_smaller_images_with_their_boxes_and_masks(tmp_path):
    options = {"num_classes": 2, "num_train": 4, "num_validation": 0, "num_test": 0}
    written = prepare_dataset(PreparationSettings("shapes", str(tmp_path), resize_shorter=32, dataset_options=options))
    row, original = load_wsol_dataset(str(tmp_path), split="train")[0], written["train"][0]
    assert row["image"].size == row["mask"].size == (32, 32)
    assert row["boxes"] == [[edge / 2 for edge in original["boxes"][0]]]
    assert set(np.unique(row["mask"])) == {0, 1}


def test_images_are_never_enlarged(boxed_folder, tmp_path):
    prepare(boxed_folder, tmp_path / "out", resize_shorter=100)
    assert load_wsol_dataset(str(tmp_path / "out"), split="test")[0]["image"].size == (20, 10)


def test_an_interrupted_run_goes_on(boxed_folder, tmp_path):
    prepare(boxed_folder, tmp_path / "out")
    first, second = sorted((tmp_path / "out/data").glob("train-*"))
    untouched, content = first.stat().st_mtime_ns, second.read_bytes()
    second.unlink()
    (tmp_path / "out/data/.being-written-train-00001-of-00002.parquet").write_bytes(b"half a shard")
    prepare(boxed_folder, tmp_path / "out")
    assert first.stat().st_mtime_ns == untouched
    assert second.read_bytes() == content
    assert not list((tmp_path / "out/data").glob(".*"))


def test_other_settings_in_the_same_folder(boxed_folder, tmp_path):
    prepare(boxed_folder, tmp_path / "out")
    with pytest.raises(DatasetError, match="started with other settings or data: resize_shorter was None and is 5"):
        prepare(boxed_folder, tmp_path / "out", resize_shorter=5)
    with pytest.raises(DatasetError, match="is not empty and no preparation was started in it"):
        prepare(boxed_folder, boxed_folder / "train")


def test_damaged_settings_of_an_earlier_run(tmp_path):
    (tmp_path / "preparation.json").write_text('{"dataset": ')
    options = {"num_classes": 2, "num_train": 4, "num_validation": 0, "num_test": 0}
    with pytest.raises(DatasetError, match=r"preparation.json cannot be read .* to prepare it again"):
        prepare_dataset(PreparationSettings("shapes", str(tmp_path), dataset_options=options))


@pytest.mark.parametrize("name", ["resize_shorter", "images_per_shard"])
def test_impossible_settings(tmp_path, name):
    with pytest.raises(DatasetError, match=f"{name} is 0; 1 or more"):
        prepare_dataset(PreparationSettings("shapes", str(tmp_path), **{name: 0}))


def test_the_card_says_what_is_there(boxed_folder, tmp_path):
    prepare(boxed_folder, tmp_path / "out")
    text = (tmp_path / "out/README.md").read_text()
    assert "| train | 6 | 3 | no |" in text
    assert "2 classes (cat, dog, …)" in text
    assert json.loads((tmp_path / "out/preparation.json").read_text())["images"] == {"train": 6, "test": 2}


def test_a_view_of_the_file_is_stored_as_it_is_seen(tmp_path, write_image, monkeypatch):
    path = write_image(tmp_path / "a.png", 30, 40)
    table = datasets.Dataset.from_dict(
        {
            "image": [{"path": str(path), "bytes": None}] * 2,
            "image_id": ["a", "b"],
            "label": [0, 1],
            "boxes": [[[0.0, 0, 5, 5]], []],
        },
        features=datasets.Features(
            image=BannerlessImage(mode="RGB"),
            image_id=datasets.Value("string"),
            label=datasets.ClassLabel(names=["x", "y"]),
            boxes=datasets.List(datasets.List(datasets.Value("float32"), length=4)),
        ),
    )
    monkeypatch.setattr(
        "modeling_sat.data.loading.load_wsol_dataset",
        lambda *args, **options: datasets.DatasetDict(train=table),
    )
    prepare_dataset(PreparationSettings("fgvc_aircraft", str(tmp_path / "out")))
    image = load_wsol_dataset(str(tmp_path / "out"), split="train")[0]["image"]
    with Image.open(path) as whole:
        assert (np.asarray(image) == np.asarray(whole)[:20]).all()
    assert "| train | 2 | 1 | no |" in card(PreparationSettings("x", "y"), datasets.DatasetDict(train=table)).content


def test_other_data_in_the_same_folder(boxed_folder, tmp_path, write_jsonl):
    prepare(boxed_folder, tmp_path / "out")
    write_jsonl(boxed_folder / "test/metadata.jsonl", {"file_name": "cat/9.png", "objects": {"bbox": [[3, 3, 4, 4]]}})
    with pytest.raises(DatasetError, match="started with other settings or data: content was"):
        prepare(boxed_folder, tmp_path / "out")
