import numpy as np
import pytest
from scipy.io import savemat

from modeling_sat.data import DatasetError, load_wsol_dataset


CHIHUAHUA, HOUND = "n02085620-Chihuahua", "n02088364-Bloodhound dog"
TRAIN = [f"{CHIHUAHUA}/n02085620_10074.jpg", f"{HOUND}/n02088364_3.jpg"]
TEST = [f"{CHIHUAHUA}/n02085620_7.jpg"]


def write_list(file, names, labels):
    file.parent.mkdir(parents=True, exist_ok=True)
    cells = np.array([[name] for name in names], dtype=object)
    annotations = np.array([[name.removesuffix(".jpg")] for name in names], dtype=object)
    savemat(
        file,
        {"file_list": cells, "annotation_list": annotations, "labels": np.array(labels, dtype=np.uint8)[:, None]},
    )


@pytest.fixture
def dogs(tmp_path, write_image, write_voc):
    """Two training images and a test image of 20×10 pixels; the second one shows two dogs."""
    write_list(tmp_path / "train_list.mat", TRAIN, [1, 2])
    write_list(tmp_path / "test_list.mat", TEST, [1])
    for name in TRAIN + TEST:
        write_image(tmp_path / "Images" / name)
        write_voc(tmp_path / "Annotation" / name.removesuffix(".jpg"), ("dog", 3, 1, 15, 9))
    write_voc(annotation(tmp_path, TRAIN[1]), ("dog", 0, 1, 7, 9), ("dog", 8, 2, 19, 10))
    return tmp_path


def annotation(folder, name):
    return folder / "Annotation" / name.removesuffix(".jpg")


def load(folder, split=None, **options):
    return load_wsol_dataset("stanford_dogs", folder, split, **{"allow_partial": True, **options})


def refuses(folder, message, split=None, **options):
    with pytest.raises(DatasetError, match=message):
        load(folder, split, **options)


@pytest.mark.parametrize("lists", ["", "lists"])
def test_columns(dogs, lists):
    (dogs / "lists").mkdir()
    for name in ("train_list.mat", "test_list.mat"):
        (dogs / name).rename(dogs / lists / name)
    splits = load(dogs)
    assert splits["train"].features["label"].names == [CHIHUAHUA, HOUND]
    assert {name: table["image_id"][:] for name, table in splits.items()} == {"train": TRAIN, "test": TEST}
    assert {name: table["label"][:] for name, table in splits.items()} == {"train": [0, 1], "test": [0]}
    assert splits["train"]["boxes"][:] == [[[3, 1, 15, 9]], [[0, 1, 7, 9], [8, 2, 19, 10]]]
    assert splits["train"][1]["image"].size == (20, 10)


def test_classes_are_in_the_order_of_the_labels(dogs):
    write_list(dogs / "train_list.mat", TRAIN, [2, 1])
    write_list(dogs / "test_list.mat", TEST, [2])
    train = load(dogs, "train")
    assert train.features["label"].names == [HOUND, CHIHUAHUA]
    assert train["label"][:] == [1, 0]


def test_box_that_leaves_its_image_is_kept_as_published(dogs, write_voc):
    write_voc(annotation(dogs, TEST[0]), ("dog", 3, 1, 25, 9))
    assert load(dogs, "test")["boxes"][:] == [[[3, 1, 25, 9]]]


def test_missing_annotation(dogs, caplog):
    annotation(dogs, TRAIN[0]).unlink()
    message = f"{TRAIN[0]}: its annotation Annotation/{CHIHUAHUA}/n02085620_10074 cannot be used .*No such file"
    refuses(dogs, message, "train")
    assert load(dogs, "test")["image_id"][:] == TEST
    assert len(load(dogs, "train", on_bad_image="skip")) == 1
    assert f"The train split has no image of 1 class:\n  - {CHIHUAHUA}" in caplog.text
    assert "Left out 1 bad image of the train split" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><filename>x</filename></annotation>", "it has no objects"),
        ("<other/>", "it has no objects"),
        ("", "Pascal VOC objects were expected"),
        ("<annotation><object><name>dog</name></object></annotation>", "'bndbox' is missing"),
        ("<annotation><size><width>wide</width></size></annotation>", "it has no objects"),
    ],
)
def test_impossible_annotations(dogs, content, message):
    annotation(dogs, TEST[0]).write_text(content)
    refuses(dogs, rf"{TEST[0]}: its annotation .*n02085620_7 cannot be used \(.*{message}", "test")


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (TRAIN, [1, 1], f"class 1: {CHIHUAHUA}\n  - class 1: {HOUND}"),
        (TRAIN, [0, 1], "  - class 0: .*\n  - class 1: "),
        (TRAIN, [1, 3], "  - class 1: .*\n  - class 3: "),
        ([TRAIN[0], TEST[0]], [1, 2], CHIHUAHUA),
    ],
)
def test_labels_that_do_not_fit_the_folders(dogs, names, labels, message):
    write_list(dogs / "train_list.mat", names, labels)
    if 0 in labels:
        write_list(dogs / "test_list.mat", TEST, [0])
    refuses(dogs, rf"do not fit the folders of their images, one each from 1 on:\n(.|\n)*{message}")


def test_lists_of_different_lengths(dogs):
    write_list(dogs / "train_list.mat", TRAIN, [1, 2, 2])
    refuses(dogs, "train_list.mat has 2 images and 3 labels")


@pytest.mark.parametrize("name", [f"{HOUND}/../../x.jpg", f"{HOUND}\\..\\..\\x.jpg"])
def test_file_outside_the_folder(dogs, name):
    write_list(dogs / "train_list.mat", [TRAIN[0], name], [1, 2])
    refuses(dogs, "train_list.mat names files outside .*Images, which are not read", "train")


def test_damaged_lists(dogs):
    savemat(dogs / "test_list.mat", {"file_list": 1})
    refuses(dogs, "test_list.mat has no variable labels, but file_list")
    (dogs / "test_list.mat").write_bytes((dogs / "train_list.mat").read_bytes()[:200])
    refuses(dogs, "test_list.mat cannot be read as a MATLAB file")
    (dogs / "test_list.mat").unlink()
    refuses(dogs, "stanford_dogs has test_list.mat in its folder, but")


def test_counts_are_the_published_ones(dogs):
    message = "The {} split of stanford_dogs has {} images? here; the published one has {}"
    refuses(dogs, message.format("train", 2, "12,000"), "train", allow_partial=False)
    refuses(dogs, message.format("test", 1, "8,580"), "test", allow_partial=False)


@pytest.mark.parametrize("missing", ["Images", "Annotation", "train_list.mat"])
def test_other_folders(dogs, missing):
    (dogs / missing).rename(dogs / "elsewhere")
    refuses(dogs, f"stanford_dogs has {missing} in its folder, but .* does not; it holds .*elsewhere")
