import re

import numpy as np
import pytest
from scipy.io import savemat

from modeling_sat.data import DatasetError, load_wsol_dataset


BOX = np.array([[3, 7, 5, 14]], dtype=np.uint8)  # y_min, y_max, x_min, x_max, as in the archive
OUTLINE = np.array([[1.0, 10, 10, 1], [1, 1, 5, 5]])  # x; y: the box's own four corners


@pytest.fixture
def annotate():
    def write(folder, number, box=BOX, outline=OUTLINE):
        folder.mkdir(parents=True, exist_ok=True)
        savemat(folder / f"annotation_{number:04}.mat", {"box_coord": box, "obj_contour": outline})

    return write


@pytest.fixture
def caltech(tmp_path, write_image, annotate):
    """Two classes of three images each, 20×10 pixels; one keeps its annotations under another name."""
    for name, annotations in (("airplanes", "Airplanes_Side_2"), ("Faces", "Faces")):
        for number in (1, 2, 3):
            write_image(tmp_path / f"101_ObjectCategories/{name}/image_{number:04}.jpg")
            annotate(tmp_path / "Annotations" / annotations, number)
    write_image(tmp_path / "101_ObjectCategories/BACKGROUND_Google/image_0001.jpg")
    return tmp_path


def load(folder, split="train", num_train=2, **options):
    return load_wsol_dataset("caltech101", folder, split, num_train=num_train, **options)


def refuses(folder, message, **options):
    with pytest.raises(DatasetError, match=message):
        load(folder, **options)


def test_layout(caltech):
    splits = load(caltech, split=None)
    assert splits["train"].features["label"].names == ["Faces", "airplanes"]
    assert splits["train"]["label"][:] == [0, 0, 1, 1]
    assert splits["train"]["image_id"][0] == "101_ObjectCategories/Faces/image_0001.jpg"
    assert splits["test"]["image_id"][1] == "101_ObjectCategories/airplanes/image_0003.jpg"
    assert {name: len(table) for name, table in splits.items()} == {"train": 4, "test": 2}


@pytest.mark.parametrize("row", [0, 2])
def test_box_and_mask_agree_to_the_pixel(caltech, row):
    example = load(caltech)[row]
    assert example["boxes"] == [[4, 2, 14, 7]]
    expected = np.zeros((10, 20), dtype=np.uint8)
    expected[2:7, 4:14] = 1
    assert (np.asarray(example["mask"]) == expected).all()


def test_outline_that_leaves_the_image_is_cut(caltech, annotate):
    annotate(caltech / "Annotations/Faces", 1, outline=np.array([[-50.0, 3, 3, -50], [1, 1, 90, 90]]))
    mask = np.asarray(load(caltech)[0]["mask"])  # columns up to 4 + 3 - 1, rows from 2
    assert mask.sum() == mask[2:, :7].sum() == 8 * 7


def test_image_without_annotation(caltech, caplog):
    (caltech / "Annotations/Faces/annotation_0001.mat").unlink()
    table = load(caltech)
    assert table[0]["boxes"] == [] and table[0]["mask"] is None
    assert table[1]["mask"] is not None
    assert "1 of 4 images of the train split have no annotation" in caplog.text


def test_stray_files_and_folders_are_ignored(caltech, write_image):
    categories = caltech / "101_ObjectCategories"
    write_image(categories / ".cache/image_0001.jpg")
    write_image(categories / "Faces/._image_0001.jpg")
    write_image(categories / "Faces/image_0001 copy.jpg")
    (categories / "notes.txt").touch()
    assert len(load(caltech)) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"obj_contour": OUTLINE}, "box_coord and obj_contour were expected, but box_coord is missing"),
        ({"box_coord": BOX[:, :3], "obj_contour": OUTLINE}, r"box_coord has shape \(1, 3\); \(1, 4\) was expected"),
        ({"box_coord": BOX, "obj_contour": OUTLINE.T}, r"obj_contour has shape \(4, 2\)"),
        ({"box_coord": BOX, "obj_contour": OUTLINE[:, :2]}, "of 3 finite points or more"),
        ({"box_coord": BOX, "obj_contour": OUTLINE * np.nan}, "of 3 finite points or more"),
        ({"box_coord": BOX, "obj_contour": OUTLINE + 100}, "obj_contour lies outside the image"),
        ({"box_coord": BOX + 10, "obj_contour": OUTLINE - 10}, "leaves its image of 20×10 pixels"),
    ],
)
def test_impossible_annotations(caltech, content, message):
    savemat(caltech / "Annotations/Faces/annotation_0002.mat", content)
    refuses(caltech, f"Faces/image_0002.jpg: .*{message}")


@pytest.mark.parametrize("content", [b"", b"not a .mat", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_unreadable_annotation(caltech, content, caplog):
    (caltech / "Annotations/Faces/annotation_0002.mat").write_bytes(content)
    refuses(caltech, "Faces/image_0002.jpg: its annotation Annotations/Faces/annotation_0002.mat cannot be used")
    assert len(load(caltech, on_bad_image="skip")) == 3
    assert "Left out 1 bad image of the train split" in caplog.text


def test_truncated_annotation(caltech):
    file = caltech / "Annotations/Faces/annotation_0002.mat"
    file.write_bytes(file.read_bytes()[:200])
    refuses(caltech, "annotation_0002.mat cannot be used")


def test_unreadable_image(caltech):
    (caltech / "101_ObjectCategories/Faces/image_0002.jpg").write_bytes(b"not an image")
    refuses(caltech, "Faces/image_0002.jpg: the image cannot be decoded")


@pytest.mark.parametrize(
    ("num_train", "message"),
    [
        (0, "num_train is 0; at least 1"),
        (
            4,
            "num_train is 4, but these classes of .* have fewer images(.|\n)*Faces: 3\n  - airplanes: 3\nLower num_train",
        ),
    ],
)
def test_num_train_out_of_range(caltech, num_train, message):
    refuses(caltech, message, num_train=num_train)


def test_other_folders(caltech):
    refuses(caltech / "101_ObjectCategories", "caltech101 has 101_ObjectCategories in its folder, but .* does not")
    (caltech / "Annotations").rename(caltech / "elsewhere")
    refuses(caltech, "caltech101 has Annotations in its folder, but .* it holds 101_ObjectCategories/, elsewhere/")
    refuses(None, "pass data_dir")
    (caltech / "Annotations").mkdir()
    (caltech / "101_ObjectCategories").rename(caltech / "images")
    (caltech / "101_ObjectCategories").mkdir()
    refuses(caltech, f"{re.escape(str(caltech / '101_ObjectCategories'))} holds no class folders")


def test_real(real_data):
    test = load_wsol_dataset("caltech101", real_data / "caltech-101", "test")
    assert len(test) == 1501 - 24 * 30
    assert test.features["label"].names[:3] == ["airplanes", "anchor", "ant"]
    overlaps = []
    for row in test.select(range(0, len(test), 20)):
        mask, (x_min, y_min, x_max, y_max) = np.asarray(row["mask"]), map(int, row["boxes"][0])
        assert mask.shape == row["image"].size[::-1]
        overlaps.append(mask[y_min:y_max, x_min:x_max].sum() / mask.sum())
    assert np.mean(overlaps) > 0.99
