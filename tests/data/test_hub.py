import re
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, List, Value
from PIL import Image

from modeling_sat.data import DatasetError, MissingSplitError, load_wsol_dataset
from modeling_sat.data.hub import read_hub


@pytest.fixture(autouse=True)
def no_pause_after_a_stream(monkeypatch):
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.01)


INT_LABEL = Value("int64")
BOX_LIST = List(List(Value("float32")))
EDGES = ("ymin", "xmin", "ymax", "xmax")


def picture(value=100, mode="L"):
    return Image.new(mode, (20, 10), value)


def bird(label=0, box=(1.0, 2.0, 11.5, 9.0), **fields):
    return {"image": picture(), "label": label, "bbox": list(box)} | fields


@pytest.fixture
def cub(save):
    """As bentrevett/caltech-ucsd-birds-200-2011."""
    features = {"label": ClassLabel(names=["001.Albatross", "002.Auklet"]), "bbox": List(Value("float64"), length=4)}
    return save(
        features,
        train=[bird(0, image=picture(10)), bird(1, (0, 0, 20, 10), image=picture(20))],
        test=[bird(1, (3, 1, 4, 2))],
    )


@pytest.fixture
def aircraft(save):
    """As HuggingFaceM4/FGVC-Aircraft."""
    features = {
        "bbox": dict.fromkeys(EDGES, INT_LABEL),
        "family": ClassLabel(names=["A300", "Boeing 707"]),
        "manufacturer": ClassLabel(names=["Airbus", "Boeing"]),
        "variant": ClassLabel(names=["A300B4", "707-320"]),
    }
    box = {"ymin": 2, "xmin": 1, "ymax": 9, "xmax": 15}
    rows = [
        {"image": picture(), "bbox": box, "family": 0, "manufacturer": 0, "variant": 0},
        {"image": picture(), "bbox": box | {"xmax": 19}, "family": 1, "manufacturer": 1, "variant": 1},
    ]
    return save(features, train=rows, validation=rows[:1], test=rows[1:])


@pytest.fixture
def imagenet(save):
    """As benjamin-paine/imagenet-1k, whose test images have the label -1."""
    rows = [{"image": picture(), "label": label} for label in (0, 1)]
    features = {"label": ClassLabel(names=["tench, Tinca tinca", "goldfish"])}
    return save(features, train=rows, validation=rows[1:], test=[{"image": picture(), "label": -1}] * 3)


def refuses(name, message, error=DatasetError, **options):
    with pytest.raises(error, match=message):
        load_wsol_dataset(name, **options)


def test_birds(cub):
    splits = load_wsol_dataset(cub, columns={"boxes": "bbox"})
    assert {name: len(table) for name, table in splits.items()} == {"train": 2, "test": 1}
    assert splits["train"].column_names == ["image", "image_id", "label", "boxes"]
    assert splits["train"].features["label"].names == ["001.Albatross", "002.Auklet"]
    assert splits["train"]["label"][:] == [0, 1]
    assert splits["train"]["image_id"][:] == ["train/00000000", "train/00000001"]
    assert splits["train"]["boxes"][:] == [[[1, 2, 11.5, 9]], [[0, 0, 20, 10]]]
    assert splits["test"]["boxes"][:] == [[[3, 1, 4, 2]]]
    image = splits["train"][1]["image"]
    assert image.mode == "RGB" and image.size == (20, 10) and np.asarray(image).max() == 20


def test_aircraft(aircraft):
    splits = load_wsol_dataset(aircraft, columns={"boxes": "bbox", "label": "variant"})
    assert list(splits) == ["train", "validation", "test"]
    assert splits["train"].features["label"].names == ["A300B4", "707-320"]
    assert splits["train"]["boxes"][:] == [[[1, 2, 15, 9]], [[1, 2, 19, 9]]]
    assert splits["test"]["label"][:] == [1]
    by_family = load_wsol_dataset(aircraft, columns={"label": "family"})
    assert by_family["train"].features["label"].names == ["A300", "Boeing 707"]
    assert by_family["train"]["boxes"][:] == [[], []]


def test_imagenet(imagenet):
    splits = load_wsol_dataset(imagenet, splits={"test": "validation"})
    assert [table["label"][:] for table in splits.values()] == [[0, 1], [1], [1]]
    assert load_wsol_dataset(imagenet, split="train")["boxes"][:] == [[], []]
    refuses(imagenet, "3 of 3 images of the test split have no label. Choose another by splits", split="test")


@pytest.mark.parametrize("split", ["train", None])
def test_streaming(cub, split):
    stream = load_wsol_dataset(cub, split=split, columns={"boxes": "bbox"}, streaming=True)
    stream = stream if split else stream["train"]
    assert isinstance(stream, datasets.IterableDataset)
    assert [row["label"] for row in stream] == [0, 1]


@pytest.mark.parametrize(
    ("dataset", "columns"),
    [("cub", {"boxes": "bbox"}), ("aircraft", {"boxes": "bbox", "label": "variant"}), ("imagenet", {})],
)
def test_streamed_rows_are_those_of_the_table(dataset, columns, request):
    folder = request.getfixturevalue(dataset)
    table = load_wsol_dataset(folder, split="train", columns=columns)
    stream = read_hub(folder, columns=columns, streaming=True).splits["train"]()
    assert stream.features == table.features
    for streamed, row in zip(stream, table, strict=True):
        assert streamed.pop("image").mode == row.pop("image").mode == "RGB"
        assert [list(box) for box in streamed.pop("boxes")] == row.pop("boxes")
        assert streamed == row


def test_streamed_masks(save):
    rows = [{"image": picture(), "label": label, "mask": picture()} for label in (0, 1)]
    folder = save({"label": ClassLabel(names=["auklet", "wren"]), "mask": datasets.Image()}, train=rows)
    stream = read_hub(folder, streaming=True).splits["train"]()
    assert next(iter(stream))["mask"].mode == "L"


def test_options_of_the_loader(cub):
    assert len(load_wsol_dataset(cub, split="train", images_per_class=1)) == 2
    refuses(cub, "has no class 'Auklet'. Did you mean '002.Auklet'", classes=["Auklet"])
    refuses(cub, "has no option 'column'. Did you mean 'columns'", column={})


def test_text_labels(save):
    rows = [bird(name) for name in ("wren", "auklet", "wren")]
    splits = load_wsol_dataset(save({"label": Value("string"), "bbox": List(Value("float64"))}, train=rows, test=rows))
    assert splits["train"].features["label"].names == splits["test"].features["label"].names == ["auklet", "wren"]
    assert splits["test"]["label"][:] == [1, 0, 1]


def test_number_labels(save):
    rows = [bird(label) for label in (2, 0, 1)]
    folder = save({"label": INT_LABEL, "bbox": List(Value("float64"))}, train=rows, test=rows[:1])
    splits = load_wsol_dataset(folder)
    assert splits["test"].features["label"].names == ["0", "1", "2"]
    assert splits["train"]["label"][:] == [2, 0, 1] and splits["test"]["label"][:] == [2]


@pytest.mark.parametrize(("dtype", "label", "none"), [("int64", 0, None), ("string", "wren", None), ("int64", 0, -1)])
def test_rows_without_label(save, dtype, label, none):
    rows = [{"image": picture(), "label": value} for value in (label, none)]
    refuses(save({"label": Value(dtype)}, train=rows), "1 of 2 images of the train split have no label")


def test_nested_coco_boxes(save):
    objects = {"bbox": BOX_LIST, "category": List(Value("int64"))}
    rows = [
        {"image": picture(), "label": 0, "objects": {"bbox": [[1, 2, 10, 5], [0, 0, 20, 10]], "category": [3, 4]}},
        {"image": picture(), "label": 1, "objects": {"bbox": [], "category": []}},
    ]
    folder = save({"label": INT_LABEL, "objects": objects}, train=rows)
    table = load_wsol_dataset(folder, split="train", columns={"boxes": "objects.bbox"}, box_format="xywh")
    assert table["boxes"][:] == [[[1, 2, 11, 7], [0, 0, 20, 10]], []]


def test_row_without_objects(save):
    rows = [{"image": picture(), "label": label, "objects": None} for label in (0, 1)]
    folder = save({"label": INT_LABEL, "objects": {"bbox": BOX_LIST}}, train=rows)
    assert load_wsol_dataset(folder, columns={"boxes": "objects.bbox"})["train"]["boxes"][:] == [[], []]


def test_list_of_objects(save):
    objects = [{"bbox": [1, 2, 3, 4], "category": 7}, {"bbox": [5, 6, 7, 8], "category": 9}]
    rows = [{"image": picture(), "label": label, "objects": objects[label:]} for label in (0, 1)]
    folder = save({"label": INT_LABEL, "objects": List({"bbox": BOX_LIST.feature, "category": INT_LABEL})}, train=rows)
    boxes = load_wsol_dataset(folder, columns={"boxes": "objects.bbox"})["train"]["boxes"][:]
    assert boxes == [[[1, 2, 3, 4], [5, 6, 7, 8]], [[5, 6, 7, 8]]]


@pytest.mark.parametrize("boxes", [None, [], [[]]])
def test_rows_without_boxes(save, boxes):
    rows = [{"image": picture(), "label": label, "boxes": boxes} for label in (0, 1)]
    assert load_wsol_dataset(save({"label": INT_LABEL, "boxes": BOX_LIST}, train=rows))["train"]["boxes"][1] == []


@pytest.mark.parametrize(("dtype", "ids"), [("string", ["a/1.jpg", "b/2.jpg"]), ("int64", [139, 285])])
def test_image_ids(save, dtype, ids):
    rows = [{"image": picture(), "label": label, "image_id": name} for label, name in enumerate(ids)]
    table = load_wsol_dataset(save({"label": INT_LABEL, "image_id": Value(dtype)}, train=rows), split="train")
    assert table["image_id"][:] == [str(name) for name in ids]


def test_masks(save):
    mask = Image.fromarray(np.full((10, 20), 255, dtype=np.uint8))
    rows = [{"image": picture(), "label": label, "segmentation": mask} for label in (0, 1)]
    folder = save({"label": INT_LABEL, "segmentation": datasets.Image()}, train=rows)
    row = load_wsol_dataset(folder, columns={"mask": "segmentation"})["train"][0]
    assert row["mask"].mode == "L" and (np.asarray(row["mask"]) == 255).all()


def test_images_are_decoded_when_a_row_is_read(save):
    rows = [{"image": {"bytes": b"no image", "path": None}, "label": label} for label in (0, 1)]
    table = load_wsol_dataset(save({"label": INT_LABEL}, train=rows), split="train")
    with pytest.raises(OSError):
        table[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"columns": {"label": "species"}},
            "has no column 'species' for 'label'; it has image, label, bbox. Name the right one",
        ),
        ({"columns": {"boxes": "box"}}, "has no column 'box' for 'boxes'"),
        ({"columns": {"boxes": "bbox.corners"}}, "no column 'bbox.corners' for 'boxes'"),
        (
            {"columns": {"bbox": "boxes"}},
            "columns maps 'bbox'; the columns here are image, image_id, label, boxes, mask",
        ),
        ({"columns": {"image": "bbox"}}, "The column 'bbox' of .* is List.*; images were expected"),
        ({"columns": {"label": "bbox"}}, "The column 'bbox' of .* is List.*; ClassLabel was expected"),
        ({"box_format": "cxcywh"}, "box_format is 'cxcywh'; xyxy or xywh was expected"),
        ({"splits": {"test": "val"}}, "splits maps 'test' to 'val'; .* has train, test, for train, validation, test"),
        ({"splits": {"tests": "test"}}, "splits maps 'tests' to 'test'"),
        ({"config": "small"}, "small holds no Parquet files: there is no such folder"),
        ({"data_dir": "no_such_folder"}, "no_such_folder holds no Parquet files"),
    ],
)
def test_bad_requests(cub, options, message):
    refuses(cub, message, **options)


def test_nested_label(save):
    rows = [{"image": picture(), "objects": {"category": number}} for number in (0, 1)]
    refuses(save({"objects": {"category": INT_LABEL}}, train=rows), "category", columns={"label": "objects.category"})


@pytest.mark.parametrize("streaming", [False, True])
def test_missing_split(cub, streaming):
    message = "no validation split here, only train, test." + " Pass validation_fraction" * (not streaming)
    refuses(cub, message, MissingSplitError, split="validation", streaming=streaming)


def test_splits_of_other_names(save):
    folder = save({"label": INT_LABEL}, extra=[{"image": picture(), "label": label} for label in (0, 1)])
    refuses(folder, re.escape("has the splits extra; say which is which by splits, as in splits={'train': 'extra'}"))
    assert len(load_wsol_dataset(folder, split="train", splits={"train": "extra"})) == 2


@pytest.mark.parametrize(
    ("feature", "box", "message"),
    [
        (List(Value("float32")), [1, 2, 3], r"A box is \[1.0, 2.0, 3.0\]; four numbers were expected"),
        (
            {"left": Value("int64"), "top": Value("int64")},
            {"left": 1, "top": 2},
            "A box has the fields left, top; xmin",
        ),
        (dict.fromkeys(EDGES, INT_LABEL), dict.fromkeys(EDGES), "A box "),
        (List({"x": Value("int64")}), [{"x": 1}], "A box has the fields x; xmin"),
    ],
)
def test_impossible_boxes(save, feature, box, message):
    rows = [{"image": picture(), "label": label, "boxes": box} for label in (0, 1)]
    refuses(save({"label": INT_LABEL, "boxes": feature}, train=rows), message, split="train")


def test_truncated_file(cub, tmp_path):
    file = tmp_path / "birds/data/train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    refuses(cub, "The dataset .*birds cannot be loaded: ", split="train")


def test_folder_without_data(tmp_path):
    (tmp_path / "empty").mkdir()
    refuses(str(tmp_path / "empty"), "empty holds no Parquet files: nothing")


@pytest.mark.parametrize("name", ["nobody/no-such-dataset", "/no/such/folder"])
def test_no_such_dataset_without_network(name, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refuses(name, f"The dataset {name} cannot be loaded: ")


def test_boxes_of_the_other_format(save):
    rows = [{"image": picture(), "label": label, "boxes": [10.0, 6, 5, 4]} for label in (0, 1)]
    folder = save({"label": INT_LABEL, "boxes": List(Value("float32"))}, train=rows)
    refuses(folder, "has no area as xyxy. Correct it, or pass box_format='xywh'", split="train")
    assert load_wsol_dataset(folder, box_format="xywh")["train"]["boxes"][0] == [[10, 6, 15, 10]]


def test_masks_of_black_and_white(save):
    mask = Image.fromarray(np.array([[0, 255]], dtype=np.uint8))
    rows = [{"image": picture(), "label": label, "mask": mask} for label in (0, 1)]
    refuses(
        save({"label": INT_LABEL, "mask": datasets.Image()}, train=rows), "hold 0 and 255; 0 background", split="train"
    )


def test_what_a_folder_holds_now(cub, save):
    before = load_wsol_dataset(cub, split="train", columns={"boxes": "bbox"})["boxes"][:]
    table = datasets.load_dataset("parquet", data_files=f"{cub}/data/train-*", split="train")
    changed = table.map(lambda row: {"bbox": [edge + 1 for edge in row["bbox"]]}, features=table.features)
    changed.to_parquet(f"{cub}/data/train-00000-of-00001.parquet")
    after = load_wsol_dataset(cub, split="train", columns={"boxes": "bbox"})["boxes"][:]
    assert after == [[[edge + 1 for edge in box] for box in boxes] for boxes in before]


def test_missing_shard(cub):
    file = Path(cub) / "data/train-00000-of-00001.parquet"
    file.rename(file.with_name("train-00000-of-00002.parquet"))
    refuses(cub, "lacks shards:\n  - train-00001-of-00002.parquet", split="train")
