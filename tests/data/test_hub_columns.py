"""Hugging Face's own column for object detection, other columns of boxes, and what their numbers are."""

import logging

import datasets
import pytest
from datasets import ClassLabel, LargeList, List, Sequence, Value
from PIL import Image

from modeling_sat.data import DatasetError, load_wsol_dataset


ANIMALS = ClassLabel(names=["cat", "dog", "person"])
PETS = ClassLabel(names=["cat", "dog"])
NUMBERS = List(Value("float32"))
BOX = List(Value("float32"), length=4)


@pytest.fixture(autouse=True)
def warnings(caplog):
    caplog.set_level(logging.WARNING)
    return caplog


def read(save, features, rows, side=40, **options):
    rows = [{"image": Image.new("RGB", (side, side))} | row for row in rows]
    return load_wsol_dataset(save(features, train=rows), split="train", **options)


def refuses(message, *args, **options):
    with pytest.raises(DatasetError, match=message):
        read(*args, **options)


CAT, DOG, PERSON = [2, 3, 20, 10], [5, 6, 30, 30], [20, 2, 15, 35]
"""x, y, width, height; read as corners one has no area."""
TWO = [
    {"label": 0, "objects": {"bbox": [CAT, PERSON], "category": [0, 2]}},
    {"label": 1, "objects": {"bbox": [DOG, PERSON], "category": [1, 2]}},
]
OWN = [[[2, 3, 22, 13]], [[5, 6, 35, 36]]]
ALL = [[[2, 3, 22, 13], [20, 2, 35, 37]], [[5, 6, 35, 36], [20, 2, 35, 37]]]


def as_list(row):
    objects = row["objects"]
    keys = list(objects)
    return row | {"objects": [dict(zip(keys, cells)) for cells in zip(*objects.values())]}


def renamed(row, key, names=None):
    objects = row["objects"]
    category = objects["category"] if names is None else [names[number] for number in objects["category"]]
    return row | {"objects": {"bbox": objects["bbox"], key: category}}


NAMES = ["cat", "dog", "person"]
FORMS = {
    "struct of lists": ({"bbox": List(BOX), "category": List(ANIMALS)}, TWO),
    "old Sequence": (Sequence({"bbox": Sequence(Value("float32"), length=4), "category": ANIMALS}), TWO),
    "list of structs": (List({"bbox": NUMBERS, "category": ANIMALS}), [as_list(row) for row in TWO]),
    "large list": (LargeList({"bbox": NUMBERS, "category": ANIMALS}), [as_list(row) for row in TWO]),
    "names as text": ({"bbox": List(NUMBERS), "category": List(Value("string"))}, [renamed(row, "category", NAMES) for row in TWO]),
    "categories": ({"bbox": List(NUMBERS), "categories": List(ANIMALS)}, [renamed(row, "categories") for row in TWO]),
    "other case": ({"bbox": List(NUMBERS), "label": List(Value("string"))}, [renamed(row, "label", ["Cat", "DOG", "Person"]) for row in TWO]),
    "integers": ({"bbox": List(List(Value("int64"))), "category": List(ANIMALS)}, TWO),
    "doubles, more fields": (
        {"id": List(Value("int64")), "area": List(Value("float64")), "bbox": List(List(Value("float64"))), "category": List(ANIMALS)},
        [row | {"objects": row["objects"] | {"id": [1, 2], "area": [3.0, 4.0]}} for row in TWO],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("label", ["label column", "from objects"])
def test_objects_are_recognised(save, form, label):
    feature, rows = FORMS[form]
    if label == "label column":
        assert read(save, {"label": PETS, "objects": feature}, rows)["boxes"][:] == OWN
        return
    alone = [{"objects": _first(row["objects"])} for row in rows]
    table = read(save, {"objects": feature}, alone)
    assert table["boxes"][:] == OWN and table["label"][:] == [0, 1]
    assert [name.lower() for name in table.features["label"].names] == ["cat", "dog"]


def _first(objects):
    return objects[:1] if isinstance(objects, list) else {key: cells[:1] for key, cells in objects.items()}


def test_what_imagefolder_makes_of_metadata(tmp_path, write_jsonl):
    for split in ("train", "test"):
        records = []
        for index, row in enumerate(TWO):
            name = f"{index}.png"
            (tmp_path / "in" / split).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 40)).save(tmp_path / "in" / split / name)
            records.append({"file_name": name, "objects": {"bbox": row["objects"]["bbox"][:1], "categories": [index]}})
        write_jsonl(tmp_path / "in" / split / "metadata.jsonl", *records)
    for split, table in datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "in")).items():
        table.to_parquet(tmp_path / f"out/{split}-00000-of-00001.parquet")
    table = load_wsol_dataset(str(tmp_path / "out"), split="test")
    assert table["boxes"][:] == OWN and table.features["label"].names == ["0", "1"]


def test_streams_recognise_them_too(save):
    stream = read(save, {"label": PETS, "objects": FORMS["struct of lists"][0]}, TWO, streaming=True)
    assert [row["boxes"] for row in stream] == OWN


def test_an_image_without_an_object_of_its_class_has_no_box(save):
    boxes = read(save, {"label": PETS, "objects": FORMS["struct of lists"][0]}, [TWO[0] | {"label": 1}, TWO[0]])[
        "boxes"
    ][:]
    assert boxes == [[], OWN[0]]


@pytest.mark.parametrize("category", [Value("int64"), ClassLabel(names=["thing", "part", "stuff"])])
def test_objects_that_are_called_otherwise_all_count(save, category, warnings):
    feature = {"bbox": List(NUMBERS), "category": List(category)}
    assert read(save, {"label": PETS, "objects": feature}, TWO)["boxes"][:] == ALL
    assert "the objects in 'objects.category' do not have the classes' names" in warnings.text


def test_images_of_several_classes_are_left_out(save, warnings):
    rows = [{"objects": row["objects"]} for row in TWO]
    alone = [{"objects": _first(row["objects"])} for row in TWO]
    table = read(save, {"objects": FORMS["struct of lists"][0]}, [*rows, *alone])
    assert table["label"][:] == [0, 1] and table["image_id"][:] == ["train/00000002", "train/00000003"]
    assert "Left out 2 of 4 images" in warnings.text and "row 0: cat, person" in warnings.text


def test_an_image_without_objects_and_label(save):
    alone = [{"objects": _first(row["objects"])} for row in TWO]
    rows = [*alone, {"objects": {"bbox": [], "category": []}}, {"objects": None}]
    feature = FORMS["struct of lists"][0]
    refuses(
        "train, row 2: it has no label: there is no object in 'objects.category'", save, {"objects": feature}, rows
    )
    assert len(read(save, {"objects": feature}, rows, on_bad_image="skip")) == 2


@pytest.mark.parametrize(
    ("column", "feature", "value", "path"),
    [
        ("bbox", BOX, CAT, "bbox"),
        ("bboxes", List(NUMBERS), [CAT], "bboxes"),
        ("box", NUMBERS, CAT, "box"),
        ("bounding_box", BOX, CAT, "bounding_box"),
        ("faces", {"bbox": List(BOX)}, {"bbox": [CAT]}, "faces.bbox"),
        ("annotations", List({"bbox": NUMBERS, "id": Value("int64")}), [{"bbox": CAT, "id": 1}], "annotations.bbox"),
        ("litter", {"rects": List(NUMBERS)}, {"rects": [CAT]}, "litter.rects"),
        ("place", dict.fromkeys(("xmin", "ymin", "xmax", "ymax"), Value("int64")), {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}, "place"),
        ("where", List(Value("float32"), length=4), CAT, "where"),
        ("annotation", Value("string"), '{"bbox": []}', "annotation"),
        ("objects", {"boxes": List(BOX)}, {"boxes": [CAT]}, "objects.boxes"),
    ],
)  # fmt: skip
def test_what_looks_like_boxes_and_is_not_read_is_named(save, column, feature, value, path, warnings):
    rows = [{"label": label, column: value} for label in (0, 1)]
    assert read(save, {"label": PETS, column: feature}, rows)["boxes"][:] == [[], []]
    assert f"the column {path!r} looks like boxes but is not read" in warnings.text
    assert f"columns={{'boxes': {path!r}}}" in warnings.text


def test_nothing_is_said_where_boxes_are_read_or_there_are_none(save, warnings):
    read(
        save,
        {"label": PETS, "boxes": List(BOX), "bbox": BOX},
        [{"label": n, "boxes": [[25, 25, 35, 35]], "bbox": CAT} for n in (0, 1)],
    )
    read(save, {"label": PETS, "width": Value("int64")}, [{"label": n, "width": 4} for n in (0, 1)])
    assert not warnings.text


CORNERS = [[x, y, x + 15, y + 12] for x, y in ((1, 2), (20, 20), (24, 4), (3, 25), (22, 27), (10, 11))]
SIZES = [[x_min, y_min, x_max - x_min, y_max - y_min] for x_min, y_min, x_max, y_max in CORNERS]


def scaled(boxes, factor):
    return [[edge * factor for edge in box] for box in boxes]


def boxed(boxes):
    return [{"label": index % 2, "boxes": [box]} for index, box in enumerate(boxes)]


FEATURES = {"label": PETS, "boxes": List(NUMBERS)}


@pytest.mark.parametrize("options", [{}, {"box_format": "xyxy"}, {"on_bad_image": "skip"}])
def test_sizes_are_not_read_as_corners(save, options):
    refuses(
        "boxes in the column 'boxes' of the train split are not xyxy: .* Pass box_format='xywh'",
        save,
        FEATURES,
        boxed(SIZES),
        **options,
    )


@pytest.mark.parametrize("options", [{}, {"on_bad_image": "skip"}])
def test_corners_are_not_read_as_sizes(save, options):
    refuses("are not xywh: .* Pass box_format='xyxy'", save, FEATURES, boxed(CORNERS), box_format="xywh", **options)
    rows = [{"label": row["label"], "objects": {"bbox": row["boxes"]}} for row in boxed(CORNERS)]
    feature = {"bbox": List(NUMBERS)}
    refuses("are not xywh: .* Pass box_format='xyxy'", save, {"label": PETS, "objects": feature}, rows, **options)
    table = read(save, {"label": PETS, "objects": feature}, rows, box_format="xyxy")
    assert [boxes[0] for boxes in table["boxes"]] == CORNERS


def test_fractions_need_a_word(save):
    refuses(
        "are fractions of their images, such as .* Pass box_format='xyxy'",
        save,
        FEATURES,
        boxed(scaled(CORNERS, 1 / 40)),
    )


@pytest.mark.parametrize(("boxes", "box_format"), [(CORNERS, "xyxy"), (SIZES, "xywh")])
def test_fractions_of_a_known_format_are_read(save, boxes, box_format):
    table = read(save, FEATURES, boxed(scaled(boxes, 1 / 40)), box_format=box_format)
    for found, expected in zip(table["boxes"], CORNERS, strict=True):
        assert found[0] == pytest.approx(expected, abs=1e-3)


def test_fractions_of_the_other_format_are_refused(save):
    refuses("are not xyxy: .* Pass box_format='xywh'", save, FEATURES, boxed(scaled(SIZES, 1 / 40)), box_format="xyxy")
    refuses(
        "are not xywh: .* Pass box_format='xyxy'", save, FEATURES, boxed(scaled(CORNERS, 1 / 40)), box_format="xywh"
    )


def test_a_stream_takes_no_fractions(save):
    stream = read(save, FEATURES, boxed(scaled(CORNERS, 1 / 40)), streaming=True)
    with pytest.raises(DatasetError, match="train, row 0: its boxes are fractions"):
        list(stream)


def test_boxes_of_another_size_of_the_image_are_refused(save):
    refuses(
        "train, row 0: A box is .* lies outside its image of 40×40 pixels. Correct it.\n",
        save,
        FEATURES,
        boxed(scaled(CORNERS, 1000 / 40)),
    )


def test_percents_are_warned_of(save, warnings):
    read(save, FEATURES, boxed(scaled(CORNERS, 2) * 2), side=200)
    assert "No box in the column 'boxes' of the train split reaches beyond 100" in warnings.text


def test_a_format_that_cannot_be_told_is_warned_of(save, warnings):
    rows = [{"label": label, "bbox": [1, 2, 12, 14]} for label in (0, 1)]
    assert read(save, {"label": PETS, "bbox": NUMBERS}, rows, columns={"boxes": "bbox"})["boxes"][0] == [
        [1, 2, 12, 14]
    ]
    assert "all would fit their images in the other format too" in warnings.text


def test_images_that_are_stored_turned_are_counted(save, tmp_path, warnings):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    content = {"bytes": (tmp_path / "turned.jpg").read_bytes(), "path": None}
    table = read(save, FEATURES, [row | {"image": content} for row in boxed([[1, 2, 15, 39], [2, 2, 19, 30]])])
    assert table[0]["image"].size == (20, 40)
    assert "2 images of the train split are stored rotated (EXIF)" in warnings.text


def test_shards_of_our_own_keep_boxes_as_published(save, warnings):
    features = FEATURES | {"boxes": List(BOX), "image_id": Value("string")}
    rows = [row | {"image_id": str(index)} for index, row in enumerate(boxed([[1, 2, 47, 40], [-3, 0, 10, 10]]))]
    assert read(save, features, rows)["boxes"][:] == [[[1, 2, 47, 40]], [[-3, 0, 10, 10]]]
    assert "2 images in the column 'boxes' of the train split have boxes that leave them" in warnings.text


def test_a_missing_label_is_answered_with_a_likely_column(save):
    rows = [{"labels": label} for label in (0, 1)]
    refuses(r"no column 'label' .* as in columns=\{'label': 'labels'\}", save, {"labels": PETS}, rows)
