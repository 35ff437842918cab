import re

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from modeling_sat.data import DatasetError, load_wsol_dataset


CLASS_NAMES = ["AM General Hummer SUV 2000", "Ram C-V Cargo Van Minivan 2012"]
BOX_FIELDS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
BOXES = [(39, 116, 385, 290), (2, 3, 300, 200), (30, 52, 246, 147)]
CLASSES = [2, 1, 2]
TEST_LIST = "devkit/cars_test_annos_withlabels.mat"


def struct(records):
    """A MATLAB struct array as in the archives: (1, n), each number a 1×1 array of the smallest unsigned type."""
    array = np.empty((1, len(records)), dtype=[(field, object) for field in records[0]])
    for column, record in enumerate(records):
        for field, value in record.items():
            is_text = isinstance(value, str)
            array[field][0, column] = value if is_text else np.array([[value]], np.min_scalar_type(value))
    return array


def write_mat(file, records=None, class_names=None):
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {} if records is None else {"annotations": struct(records)}
    if class_names is not None:
        content["class_names"] = np.array([class_names], dtype=object)
    savemat(file, content)


def record(row, **fields):
    return dict(zip(BOX_FIELDS, BOXES[row])) | {"class": CLASSES[row]} | fields


def old_record(row, **fields):
    return {"relative_im_path": f"car_ims/{row + 1:06}.jpg", **record(row), "test": int(row == 2)} | fields


@pytest.fixture
def older(tmp_path, write_image):
    """Two training images and a test image of 400×300 pixels."""
    write_mat(tmp_path / "cars_annos.mat", [old_record(row) for row in range(3)], CLASS_NAMES)
    for number in (1, 2, 3):
        write_image(tmp_path / f"car_ims/{number:06}.jpg", 400, 300)
    return tmp_path


@pytest.fixture
def newer(tmp_path, write_image):
    write_mat(tmp_path / "devkit/cars_meta.mat", class_names=CLASS_NAMES)
    write_mat(
        tmp_path / "devkit/cars_train_annos.mat",
        [record(0, fname="00001.jpg"), record(1, fname="00002.jpg")],
    )
    write_mat(tmp_path / TEST_LIST, [record(2, fname="00001.jpg")])
    for name in ("cars_train/00001.jpg", "cars_train/00002.jpg", "cars_test/00001.jpg"):
        write_image(tmp_path / name, 400, 300)
    return tmp_path


def load(folder, split=None, **options):
    return load_wsol_dataset("stanford_cars", folder, split, **{"allow_partial": True, **options})


def refuses(folder, message, split=None, **options):
    with pytest.raises(DatasetError, match=message):
        load(folder, split, **options)


def assert_is_what_was_written(splits, image_ids):
    rows = [row for split in ("train", "test") for row in splits[split]]
    names = splits["train"].features["label"].names
    assert names == splits["test"].features["label"].names == CLASS_NAMES
    assert len(splits["train"]) == 2
    assert [row["image_id"] for row in rows] == image_ids
    assert [row["label"] for row in rows] == [number - 1 for number in CLASSES]
    assert [row["boxes"] for row in rows] == [[list(box)] for box in BOXES]
    assert {(row["image"].size, row["image"].mode) for row in rows} == {((400, 300), "RGB")}


def test_miniature_is_in_the_format_of_the_archive(older):
    annotations = loadmat(older / "cars_annos.mat")["annotations"]
    assert annotations.shape == (1, 3) and annotations["bbox_x2"][0, 0].shape == (1, 1)
    assert [annotations[field][0, 0].dtype for field in BOX_FIELDS] == ["uint8", "uint8", "uint16", "uint16"]


@pytest.mark.parametrize("outer", ["", "stanford_cars"])
def test_older_layout(older, outer):
    if outer:
        (older / outer).mkdir()
        for name in ("cars_annos.mat", "car_ims"):
            (older / name).rename(older / outer / name)
    assert_is_what_was_written(load(older), [f"car_ims/00000{number}.jpg" for number in (1, 2, 3)])


@pytest.mark.parametrize("test_list", [TEST_LIST, "cars_test_annos_withlabels.mat", "devkit/cars_test_annos.mat"])
@pytest.mark.parametrize("nested", [False, True])
def test_newer_layout(newer, test_list, nested):
    (newer / TEST_LIST).rename(newer / test_list)
    for name in ("cars_train", "cars_test") if nested else ():
        (newer / name).rename(newer / "moved")
        (newer / name).mkdir()
        (newer / "moved").rename(newer / name / name)
    assert_is_what_was_written(load(newer), ["cars_train/00001.jpg", "cars_train/00002.jpg", "cars_test/00001.jpg"])


def test_list_with_labels_is_preferred(newer):
    write_mat(newer / "devkit/cars_test_annos.mat", [dict(zip(BOX_FIELDS, BOXES[2]), fname="00001.jpg")])
    assert load(newer, "test")["label"][:] == [1]


def test_single_record_and_single_class(older):
    write_mat(older / "cars_annos.mat", [old_record(2, **{"class": 1})], CLASS_NAMES[:1])
    table = load(older, "test")
    assert table.features["label"].names == CLASS_NAMES[:1]
    assert table["image_id"][:] == ["car_ims/000003.jpg"]
    assert table["boxes"][:] == [[list(BOXES[2])]]


def test_back_slashes_in_file_names(older):
    records = [old_record(row, relative_im_path=f"car_ims\\{row + 1:06}.jpg") for row in range(3)]
    write_mat(older / "cars_annos.mat", records, CLASS_NAMES)
    assert load(older, "test")["image_id"][:] == ["car_ims/000003.jpg"]


def test_box_that_leaves_its_image_is_kept_as_published(older):
    write_mat(older / "cars_annos.mat", [old_record(row, bbox_x2=600) for row in range(3)], CLASS_NAMES)
    assert load(older, "test")["boxes"][:] == [[[30, 52, 600, 147]]]


@pytest.mark.parametrize("number", [0, 3, 300])
def test_class_number_out_of_range(older, number):
    write_mat(older / "cars_annos.mat", [old_record(0), old_record(1, **{"class": number})], CLASS_NAMES)
    refuses(
        older, rf"cars_annos.mat has class numbers that are not 1 to 2:\n  - {number}\nIs it the official", "train"
    )


def test_class_number_of_the_newer_layout_out_of_range(newer):
    write_mat(newer / TEST_LIST, [record(2, fname="00001.jpg", **{"class": 3})])
    refuses(newer, f"{TEST_LIST} has class numbers that are not 1 to 2:\n  - 3\n", "test")


@pytest.mark.parametrize("field", ["class", "bbox_x1"])
def test_text_where_a_number_belongs(older, field):
    write_mat(older / "cars_annos.mat", [old_record(0), old_record(1, **{field: "two"})], CLASS_NAMES)
    refuses(older, f"cars_annos.mat has .*{field}", "train")


def test_test_list_without_classes(newer):
    (newer / TEST_LIST).unlink()
    write_mat(newer / "devkit/cars_test_annos.mat", [dict(zip(BOX_FIELDS, BOXES[2]), fname="00001.jpg")])
    refuses(newer, "devkit/cars_test_annos.mat has no classes, .*; put cars_test_annos_withlabels.mat", "test")
    assert len(load(newer, "train")) == 2


def test_training_list_without_classes(newer):
    write_mat(newer / "devkit/cars_train_annos.mat", [dict(zip(BOX_FIELDS, BOXES[0]), fname="00001.jpg")])
    refuses(newer, "cars_train_annos.mat has records without class;", "train")


@pytest.mark.parametrize("layout", ["older", "newer"])
def test_missing_field(layout, request):
    folder = request.getfixturevalue(layout)
    records = [old_record(row) for row in range(3)] if layout == "older" else [record(0, fname="00001.jpg")]
    for written in records:
        del written["bbox_x2"]
    file = "cars_annos.mat" if layout == "older" else "devkit/cars_train_annos.mat"
    write_mat(folder / file, records, CLASS_NAMES)
    refuses(folder, f"{file} has records without bbox_x2; .*bbox_y1, bbox_x2, bbox_y2, class", "train")


@pytest.mark.parametrize("layout", ["older", "newer"])
def test_annotations_that_are_no_records(layout, request):
    folder = request.getfixturevalue(layout)
    file = "cars_annos.mat" if layout == "older" else "devkit/cars_train_annos.mat"
    savemat(folder / file, {"annotations": np.ones((1, 3)), "class_names": np.array([CLASS_NAMES], dtype=object)})
    refuses(folder, f"{file} has records without", "train")


@pytest.mark.parametrize("name", ["../elsewhere.jpg", "..\\elsewhere.jpg", "/etc/elsewhere.jpg", "C:\\elsewhere.jpg"])
def test_file_outside_the_folder(older, name):
    write_mat(older / "cars_annos.mat", [old_record(0, relative_im_path=name), old_record(1)], CLASS_NAMES)
    refuses(older, f"cars_annos.mat names files outside .*\n  - {re.escape(name)}\n", "train")


def test_file_of_the_newer_layout_outside_its_folder(newer):
    write_mat(newer / TEST_LIST, [record(2, fname="../cars_train/00001.jpg")])
    refuses(newer, "names files outside .*cars_test, which are not read:\n  - ../cars_train/00001.jpg", "test")


@pytest.mark.parametrize("length", [0, 200, -40])
def test_truncated_file(older, length):
    file = older / "cars_annos.mat"
    file.write_bytes(file.read_bytes()[:length])
    refuses(older, "cars_annos.mat cannot be read as a MATLAB file")


def test_file_without_the_variable(newer):
    savemat(newer / "devkit/cars_meta.mat", {"names": 1})
    refuses(newer, "devkit/cars_meta.mat has no variable class_names, but names. Is it the official file")


def test_counts_are_the_published_ones(older):
    message = "The {} split of stanford_cars has {} images? here; the published one has {}"
    refuses(older, message.format("train", 2, "8,144"), "train", allow_partial=False)
    refuses(older, message.format("test", 1, "8,041"), "test", allow_partial=False)


def test_missing_image(older, caplog):
    (older / "car_ims/000003.jpg").unlink()
    refuses(older, "The test split has no usable image", "test")
    assert "1 image of the test split: these files are missing:\n  - car_ims/000003.jpg" in caplog.text


@pytest.mark.parametrize("missing", ["devkit/cars_meta.mat", "devkit/cars_train_annos.mat"])
def test_other_folders(newer, missing):
    (newer / missing).unlink()
    refuses(newer, f"stanford_cars has {missing} in its folder, but .* does not; devkit/ holds cars_")
    refuses(None, "stanford_cars is read from disk: pass data_dir")


def test_lists_in_the_form_of_wsolevaluation(newer):
    lists = newer / "metadata/test"
    lists.mkdir(parents=True)
    (lists / "image_ids.txt").write_text("cars_test/00001.jpg\n")
    (lists / "class_labels.txt").write_text("cars_test/00001.jpg,1\n")
    (lists / "localization.txt").write_text("cars_test/00001.jpg,1,2,9,8\n")
    table = load(newer, "test", metadata_dir="metadata")
    assert table.features["label"].names == CLASS_NAMES
    assert (table["label"][:], table["boxes"][:]) == ([1], [[[1, 2, 9, 8]]])
