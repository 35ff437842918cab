"""A label from a file goes before the name of a folder where every image has one; else what differs is counted."""

import pytest

from modeling_sat.data import load_wsol_dataset


BATCHES = {"batch1/0.png": "cat", "batch1/1.png": "dog", "batch2/0.png": "dog", "batch2/1.png": "cat"}


@pytest.fixture
def labels_of(tmp_path, write_image, write_jsonl, write_voc, write_coco):
    """Writes images with labels in a format, and gives the labels that are read."""

    def read(labels: dict[str, object], format: str, others: tuple[str, ...] = ()) -> dict[str, str]:
        for name in (*labels, *others):
            write_image(tmp_path / name)
        if format == "jsonl":
            records = [{"file_name": name, "label": label} for name, label in labels.items()]
            write_jsonl(tmp_path / "metadata.jsonl", *records)
        elif format == "csv":
            lines = [f"{name},{label}" for name, label in labels.items()]
            (tmp_path / "metadata.csv").write_text("\n".join(["file_name,label", *lines]))
        elif format == "voc":
            for name, label in labels.items():
                objects = [(name, 1, 1, 5, 5) for name in str(label).split("+")]
                write_voc((tmp_path / name).with_suffix(".xml"), *objects)
        else:
            write_coco(tmp_path / "coco.json", {name: [(label, [1, 1, 4, 4])] for name, label in labels.items()})
        table = load_wsol_dataset("folder", tmp_path, "train")
        return dict(zip(table["image_id"], table.features["label"].int2str(table["label"][:]), strict=True))

    return read


@pytest.mark.parametrize("format", ["jsonl", "csv", "voc", "coco"])
def test_files_go_before_folders(labels_of, format, caplog):
    assert labels_of(BATCHES, format) == BATCHES
    assert "the folders (batch1, batch2) are not used as classes; they say otherwise for 4 of 4 images" in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ["day/a/0.png", "day/b/0.png", "night/a/0.png", "night/b/0.png"],
        ["0.png", "1.png", "more/2.png", "more/3.png"],
        ["all/0.png", "all/1.png", "all/2.png", "all/3.png"],
    ],
)
def test_files_settle_what_folders_leave_unclear(labels_of, names):
    expected = dict(zip(names, ["cat", "dog", "dog", "cat"], strict=True))
    assert labels_of(expected, "jsonl") == expected


def test_numbers_in_batches_are_labels(labels_of):
    numbers = {name: ["dog", "cat"].index(label) for name, label in BATCHES.items()}
    assert labels_of(numbers, "jsonl") == {name: str(number) for name, number in numbers.items()}


def test_disagreements_are_counted_where_a_label_is_missing(labels_of, caplog):
    read = labels_of({"cat/0.png": "dog", "cat/1.png": "cat", "dog/0.png": "dog"}, "jsonl", others=("dog/1.png",))
    assert read == {"cat/0.png": "cat", "cat/1.png": "cat", "dog/0.png": "dog", "dog/1.png": "dog"}
    assert "name other classes than the folder for 1 of 4 images" in caplog.text
    assert "cat/0.png: dog in metadata.jsonl, line 1" in caplog.text


@pytest.mark.parametrize(
    ("labels", "format"),
    [
        ({"Cat/0.png": "cat", "Dog/0.png": "DOG"}, "jsonl"),
        ({"cat/0.png": "cat+person", "dog/0.png": "dog+person"}, "voc"),
        ({"cat/0.png": "object", "dog/0.png": "object"}, "voc"),
        ({"cat/0.png": "head+tail", "dog/0.png": "head+tail"}, "voc"),
        ({"cat/0.png": 0, "dog/0.png": 1}, "jsonl"),
        ({"n02085620-Chihuahua/0.png": "Chihuahua", "n02085782-Japanese_spaniel/0.png": "japanese spaniel"}, "voc"),
    ],
)
def test_folders_name_what_files_do_not(labels_of, labels, format):
    assert labels_of(labels, format) == {name: name.partition("/")[0] for name in labels}


def test_images_of_several_classes_in_batches_are_left_out(labels_of, caplog):
    assert labels_of(BATCHES | {"batch1/9.png": "cat+dog"}, "voc") == BATCHES
    assert "Left out 1 of 5 images, which show objects of several classes" in caplog.text


def test_labels_and_boxes_from_two_files(tmp_path, write_image, write_jsonl, write_voc):
    for name, label in (("a", "cat"), ("b", "dog")):
        write_image(tmp_path / f"{name}.png")
        write_voc(tmp_path / f"{name}.xml", (label, 1, 1, 5, 5))
    write_jsonl(
        tmp_path / "metadata.jsonl", {"file_name": "a.png", "label": "cat"}, {"file_name": "b.png", "label": "dog"}
    )
    assert load_wsol_dataset("folder", tmp_path, "train")["boxes"][:] == [[[0, 0, 5, 5]]] * 2


@pytest.mark.parametrize("key", ["class", "category", "class_name"])
def test_other_keys_of_a_label(tmp_path, write_image, write_jsonl, key):
    for name in BATCHES:
        write_image(tmp_path / name)
    write_jsonl(tmp_path / "metadata.jsonl", *({"file_name": name, key: label} for name, label in BATCHES.items()))
    table = load_wsol_dataset("folder", tmp_path, "train")
    assert table.features["label"].int2str(table["label"][:]) == list(BATCHES.values())


def test_folders_that_differ_in_a_number_do_not_agree(labels_of):
    labels = {"1 cent/0.png": "2 cent", "1 cent/1.png": "1 cent", "2 cent/0.png": "2 cent"}
    assert labels_of(labels, "jsonl") == labels


def test_spaces_around_a_label(labels_of):
    labels = {"0.png": "cat ", "1.png": " cat", "2.png": "dog"}
    assert labels_of(labels, "jsonl") == {"0.png": "cat", "1.png": "cat", "2.png": "dog"}


def test_classes_of_nearly_one_name_are_named(labels_of, caplog):
    labels = {"0.png": "Cat", "1.png": "cat", "2.png": "dog"}
    assert labels_of(labels, "jsonl") == labels
    assert "differ only in case, spaces or punctuation:\n  - 'Cat' and 'cat'" in caplog.text
