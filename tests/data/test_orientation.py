"""Images that their EXIF orientation turns, and the pixels that their boxes were drawn on."""

import numpy as np
import pytest
from benchmark_mixin import rectangle, write_lines, write_lists
from PIL import Image, ImageOps
from scipy.io import savemat

from modeling_sat.data import load_wsol_dataset
from modeling_sat.data.orientation import Orientation
from modeling_sat.data.preparation import PreparationSettings, prepare_dataset
from modeling_sat.data.views import TrainingView


TURNS = range(2, 9)
STORED, BOX = (40, 20), (4, 2, 30, 8)
"""An image with a white box, as it is stored."""


def write_turned(path, number, size=STORED, box=BOX):
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    exif = Image.Exif()
    exif[0x0112] = number
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif, **({"quality": 100} if path.suffix.lower() != ".png" else {}))
    return path


def white_box(image):
    return list(Image.fromarray(np.asarray(image.convert("L")) > 128).getbbox())


@pytest.mark.parametrize("number", TURNS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_boxes_turn_as_pillow_turns_images(tmp_path, number, suffix):
    path = write_turned(tmp_path / f"a.{suffix}", number)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    orientation = Orientation.of_header(path)
    assert (orientation.upright, orientation.stored) == (upright.size, STORED)
    assert list(orientation.turned_box(BOX)) == white_box(upright)
    (tmp_path / "stored.png").write_bytes(orientation.stored_image(path))
    with Image.open(tmp_path / "stored.png") as stored:
        assert white_box(stored) == list(BOX) and not stored.getexif()


def cub(folder, box="4.0 2.0 26.0 6.0"):
    root = folder / "CUB_200_2011"
    write_lines(root / "classes.txt", "1 a", "2 b")
    write_lines(root / "images.txt", "1 a/1.jpg", "2 b/2.jpg")
    write_lines(root / "image_class_labels.txt", "1 1", "2 2")
    write_lines(root / "train_test_split.txt", "1 1", "2 1")
    write_lines(root / "bounding_boxes.txt", f"1 {box}", f"2 {box}")
    return root


def shows_its_box(row):
    return white_box(row["image"]) == [round(edge) for edge in row["boxes"][0]]


@pytest.mark.parametrize("number", TURNS)
def test_a_benchmark_is_read_in_the_pixels_that_its_boxes_were_drawn_on(tmp_path, number, caplog):
    root = cub(tmp_path)
    write_turned(root / "images/a/1.jpg", number)
    write_turned(root / "images/b/2.jpg", 1)
    for row in load_wsol_dataset("cub", tmp_path, "train", allow_partial=True):
        assert row["image"].size == STORED and row["boxes"] == [list(BOX)] and shows_its_box(row)
    assert ("1 image of the train split turned by their EXIF orientation, and nothing says" in caplog.text) == (
        number < 5  # by the shape where it changes: the box leaves the upright image
    )


def test_a_mask_decides(tmp_path, caplog):
    root = cub(tmp_path, box="1.0 1.0 5.0 5.0")
    for name, size in (("a/1", (40, 20)), ("b/2", (20, 40))):
        write_turned(root / f"images/{name}.jpg", 6)
        mask = tmp_path / f"segmentations/{name}.png"
        mask.parent.mkdir(parents=True)
        Image.fromarray(rectangle(1, 1, 6, 6, size) * 255).save(mask)
    table = load_wsol_dataset("cub", tmp_path, "train", allow_partial=True)
    assert [image.size for image in table["image"]] == [(40, 20), (20, 40)]
    assert [mask.size for mask in table["mask"]] == [(40, 20), (20, 40)]
    assert "EXIF" not in caplog.text


@pytest.mark.parametrize(("listed", "size"), [((40, 20), (40, 20)), ((20, 40), (20, 40)), ((400, 200), (40, 20))])
def test_the_listed_size_decides(tmp_path, listed, size, caplog):
    for name in ("a/1.jpg", "b/2.jpg"):
        write_turned(tmp_path / "images" / name, 6)
    labels = {"a/1.jpg": 0, "b/2.jpg": 1}
    scale = max(listed) / 40
    write_lists(
        tmp_path / "metadata/train", labels, [f"{path},1,1,{5 * scale},{6 * scale}" for path in labels], listed
    )
    write_lines(tmp_path / "images.txt", "")
    write_lines(tmp_path / "classes.txt", "1 a", "2 b")
    options = {"metadata_dir": "metadata", "allow_partial": True}
    table = load_wsol_dataset("cub", tmp_path, "train", **options)
    assert [image.size for image in table["image"]] == [size, size]
    assert table[0]["boxes"][0][2:] == [5, 6]
    assert "EXIF" not in caplog.text


def test_a_square_benchmark_image_is_counted(tmp_path, caplog):
    root = cub(tmp_path, box="4.0 2.0 10.0 6.0")
    for name in ("a/1.jpg", "b/2.jpg"):
        write_turned(root / "images" / name, 6, (32, 32), (4, 2, 14, 8))
    assert all(map(shows_its_box, load_wsol_dataset("cub", tmp_path, "train", allow_partial=True)))
    assert "2 images of the train split turned by their EXIF orientation" in caplog.text
    assert "as stored was assumed" in caplog.text


def test_training_views_and_parquet_show_the_same_pixels(tmp_path):
    root = cub(tmp_path / "data")
    write_turned(root / "images/a/1.jpg", 6)
    write_turned(root / "images/b/2.jpg", 8)
    table = load_wsol_dataset("cub", tmp_path / "data", "train", allow_partial=True)
    view = TrainingView(resize=(20, 40), crop=(20, 40), horizontal_flip=0)
    settings = PreparationSettings(
        "cub", str(tmp_path / "parquet"), str(tmp_path / "data"), splits=["train"], allow_partial=True
    )
    prepare_dataset(settings)
    prepared = load_wsol_dataset(str(tmp_path / "parquet"), split="train")
    for row, stored, item in zip(table, prepared, view_items(view, table), strict=True):
        assert shows_its_box(row) and shows_its_box(stored)
        assert np.array_equal(np.asarray(row["image"]), item)


def view_items(view, table):
    images = view.of(table)
    return [images[0, position]["pixel_values"].numpy().transpose(1, 2, 0) for position in range(len(table))]


def test_stanford_dogs_by_the_size_in_their_xml(tmp_path, write_voc):
    names = np.array([["n1-a/1.jpg"], ["n2-b/2.jpg"]], dtype=object)
    for split in ("train", "test"):
        savemat(tmp_path / f"{split}_list.mat", {"file_list": names, "labels": np.array([[1], [2]])})
    for name in ("n1-a/1", "n2-b/2"):
        write_turned(tmp_path / f"Images/{name}.jpg", 6)
        write_voc(tmp_path / "Annotation" / name, (name[:2], 1, 1, 9, 9))
        text = (tmp_path / "Annotation" / name).read_text()
        size = "<size><width>40</width><height>20</height></size>"
        (tmp_path / "Annotation" / name).write_text(text.replace("<object>", f"{size}<object>"))
    table = load_wsol_dataset("stanford_dogs", tmp_path, "train", allow_partial=True)
    assert [image.size for image in table["image"]] == [STORED, STORED]


def test_training_images_of_imagenet(tmp_path, caplog):
    for wnid in ("n01440764", "n01443537"):
        write_turned(tmp_path / f"train/{wnid}/{wnid}_1.JPEG", 6)
        write_turned(tmp_path / f"train/{wnid}/{wnid}_2.JPEG", 3)
        write_turned(tmp_path / f"train/{wnid}/{wnid}_3.JPEG", 6)
    lines = [f"{wnid}_{number},{wnid} 4 2 30 8" for wnid in ("n01440764", "n01443537") for number in (1, 2)]
    write_lines(tmp_path / "LOC_train_solution.csv", "ImageId,PredictionString", *lines)
    table = load_wsol_dataset("imagenet", tmp_path, "train", allow_partial=True)
    assert [image.size for image in table["image"]] == [STORED, STORED, (20, 40)] * 2
    assert all(shows_its_box(row) for row in table if row["boxes"])
    assert "2 images of the train split turned by their EXIF orientation" in caplog.text


@pytest.mark.parametrize("number", [5, 6, 7, 8])
@pytest.mark.parametrize("drawn", ["stored", "upright"])
def test_a_folder_is_upright_and_turns_boxes_that_were_drawn_on_stored_pixels(
    tmp_path, write_image, write_voc, number, drawn, caplog
):
    path = write_turned(tmp_path / "train/cat/0.jpg", number)
    write_image(tmp_path / "train/dog/0.jpg")
    orientation = Orientation.of_header(path)
    x_min, y_min, x_max, y_max = BOX if drawn == "stored" else orientation.turned_box(BOX)
    file = tmp_path / "train/cat/0.xml"
    write_voc(file, ("cat", x_min + 1, y_min + 1, x_max, y_max))
    width, height = STORED if drawn == "stored" else orientation.upright
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    file.write_text(file.read_text().replace("<object>", f"{size}<object>"))
    row = load_wsol_dataset("folder", tmp_path, "train")[0]
    assert row["image"].size == (20, 40) and shows_its_box(row)
    assert "EXIF" not in caplog.text


@pytest.mark.parametrize(("number", "box"), [(3, [1, 1, 5, 5]), (6, [1, 1, 5, 5])])
def test_a_folder_in_which_nothing_tells(tmp_path, write_image, write_jsonl, number, box, caplog):
    write_turned(tmp_path / "train/cat/0.jpg", number)
    write_image(tmp_path / "train/dog/0.jpg")
    write_jsonl(tmp_path / "train/metadata.jsonl", {"file_name": "cat/0.jpg", "objects": {"bbox": [box]}})
    assert load_wsol_dataset("folder", tmp_path, "train")[0]["boxes"] == [[1, 1, 6, 6]]
    assert "1 image of the train split turned by their EXIF orientation" in caplog.text
    assert "upright was assumed" in caplog.text


def test_a_folder_in_which_only_the_stored_image_holds_the_box(tmp_path, write_image, write_jsonl):
    write_turned(tmp_path / "train/cat/0.jpg", 6)
    write_image(tmp_path / "train/dog/0.jpg")
    write_jsonl(tmp_path / "train/metadata.jsonl", {"file_name": "cat/0.jpg", "objects": {"bbox": [[4, 2, 26, 6]]}})
    row = load_wsol_dataset("folder", tmp_path, "train")[0]
    assert row["image"].size == (20, 40) and shows_its_box(row)


def test_a_benchmark_of_another_shape_is_counted(tmp_path, write_image, caplog):
    labels = {"a/1.jpg": 0, "b/2.jpg": 1}
    for name in labels:
        write_image(tmp_path / "images" / name, 30, 30)
    write_lists(tmp_path / "metadata/train", labels, [f"{path},0,0,20,10" for path in labels], (40, 20))
    write_lines(tmp_path / "images.txt", "")
    write_lines(tmp_path / "classes.txt", "1 a", "2 b")
    table = load_wsol_dataset("cub", tmp_path, "train", metadata_dir="metadata", allow_partial=True)
    assert table[0]["boxes"] == [[0, 0, 15, 15]]
    assert "2 images of the train split of another shape than the images that their boxes were drawn on" in caplog.text
