"""Folders of Parquet files as the Hub, `datasets` and other tools write them."""

import io

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features
from PIL import Image

from modeling_sat.data import DatasetError, load_wsol_dataset


NAMES = ["cat", "dog"]
STORED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encoded(image=None):
    buffer = io.BytesIO()
    (image or Image.new("RGB", (40, 20), "red")).save(buffer, "PNG")
    return buffer.getvalue()


def rows(names=NAMES, **columns):
    content = {"image": [{"bytes": encoded(), "path": None}] * 2, "label": [0, 1], **columns}
    return Dataset.from_dict(content, features=Features(image=datasets.Image(), label=ClassLabel(names=names)))


def write(table, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(file)


def plain(folder, **columns):
    """As pandas, Spark or DuckDB write it."""
    columns = {"image": pa.array([{"bytes": encoded(), "path": None}] * 2, STORED), "label": NAMES, **columns}
    pq.write_table(pa.table(columns), folder / "train.parquet")
    return str(folder)


@pytest.mark.parametrize("name", ["default/{}/0000.parquet", "{}/0000.parquet", "data/{}/part-00000-ab.parquet"])
def test_splits_that_are_folders(tmp_path, name):
    for split in ("train", "test"):
        write(rows(), tmp_path / name.format(split))
    assert set(load_wsol_dataset(str(tmp_path))) == {"train", "test"}


@pytest.mark.parametrize("name", ["{}/train-00000-of-00001.parquet", "{}/train/0000.parquet"])
def test_several_datasets_are_not_mixed(tmp_path, name):
    for config in ("full", "cropped"):
        write(rows(), tmp_path / name.format(config))
    with pytest.raises(DatasetError, match=r"several datasets, in cropped, full; choose one by config"):
        load_wsol_dataset(str(tmp_path))
    assert len(load_wsol_dataset(str(tmp_path), split="train", config="full")) == 2


@pytest.mark.parametrize("other", ["train-00001-of-00002", "test"])
def test_files_that_number_classes_differently(tmp_path, other):
    write(rows(), tmp_path / ("train-00000-of-00002.parquet" if "train" in other else "train.parquet"))
    write(rows(NAMES[::-1]), tmp_path / f"{other}.parquet")
    with pytest.raises(
        DatasetError, match=r"number the classes of the column 'label' differently: .*cat, dog, .*dog, cat"
    ):
        load_wsol_dataset(str(tmp_path))


def test_what_save_to_disk_writes(tmp_path):
    rows().save_to_disk(tmp_path)
    with pytest.raises(DatasetError, match=r"it is what `save_to_disk` of datasets writes.*to_parquet"):
        load_wsol_dataset(str(tmp_path))


@pytest.mark.parametrize(
    "image", [pa.array([encoded()] * 2), pa.array([{"bytes": encoded(), "path": None}] * 2, STORED)]
)
def test_images_of_other_tools(tmp_path, image):
    row = load_wsol_dataset(plain(tmp_path, image=image), split="train")[1]
    assert row["image"].size == (40, 20) and row["label"] == 1


def test_a_broken_image_of_other_tools(tmp_path):
    table = load_wsol_dataset(plain(tmp_path, image=pa.array([encoded(), encoded()[:60]])), split="train")
    with pytest.raises(DatasetError, match="Row 1 of the train split cannot be decoded"):
        table[1]


@pytest.mark.parametrize(("label", "names"), [([1, 2], ["1", "2"]), ([5, 0], ["0", "5"]), (["dog ", "cat"], NAMES)])
def test_labels(tmp_path, label, names):
    table = load_wsol_dataset(plain(tmp_path, label=label), split="train")
    assert table.features["label"].names == names
    assert [names[row["label"]] for row in table] == [str(name).strip() for name in label]


def test_an_empty_name_is_no_label(tmp_path):
    with pytest.raises(DatasetError, match="1 of 2 images of the train split have no label"):
        load_wsol_dataset(plain(tmp_path, label=["", "cat"]))


def test_images_of_several_classes_alone(tmp_path):
    objects = [{"bbox": [[1.0, 2, 3, 4]] * 2, "category": NAMES}] * 2
    pq.write_table(pa.table({"image": [encoded()] * 2, "objects": objects}), tmp_path / "train.parquet")
    with pytest.raises(DatasetError, match=r"each shows objects of several classes"):
        load_wsol_dataset(str(tmp_path))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("size", "box"),
    [((40, 20), [4, 2, 12, 8]), ((80, 40), [2, 1, 6, 4]), ((20, 40), [4, 2, 12, 8]), ((None, None), [4, 2, 12, 8])],
)
def test_boxes_drawn_on_another_size(tmp_path, size, box, streaming):
    objects = [{"bbox": [[4.0, 2, 8, 6]], "category": [name]} for name in NAMES]
    features = rows().features
    table = pa.table({
        "image": rows().data.column("image"), "label": [0, 1], "objects": objects,
        "width": pa.array([size[0]] * 2, pa.int64()), "height": pa.array([size[1]] * 2, pa.int64()),
    })  # fmt: skip
    write(
        Dataset(table).cast_column("label", features["label"]).cast_column("image", datasets.Image()),
        tmp_path / "train.parquet",
    )
    assert next(iter(load_wsol_dataset(str(tmp_path), split="train", streaming=streaming)))["boxes"] == [box]


def test_boxes_drawn_on_another_shape(tmp_path):
    objects = [{"bbox": [[4.0, 2, 8, 6]], "category": [name]} for name in NAMES]
    folder = plain(tmp_path, objects=objects, width=[50, 50], height=[50, 50])
    with pytest.raises(DatasetError, match=r"row 0: its boxes were drawn on 50×50 pixels.* it has 40×20"):
        load_wsol_dataset(folder)


def test_masks_of_a_palette_are_not_taken_for_grey(tmp_path):
    mask = Image.fromarray(np.eye(20, 40, dtype=np.uint8) * 15, "P")
    mask.putpalette([0] * 768)
    with pytest.raises(DatasetError, match=r"indices into a palette .0, 15."):
        load_wsol_dataset(plain(tmp_path, mask=pa.array([encoded(mask)] * 2)))
