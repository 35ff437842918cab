"""Sizes that annotations were drawn on, and units and forms of their boxes."""

import json

import pytest

from modeling_sat.data import DatasetError, load_wsol_dataset


@pytest.fixture
def folder(tmp_path, write_image):
    """Two classes of three photographs of 640×480 pixels."""
    return with_images(tmp_path, write_image, 640, 480)


def with_images(folder, write_image, width, height):
    for name in ("cat", "dog"):
        for number in range(3):
            write_image(folder / f"train/{name}/{number}.jpg", width, height)
    return folder


def boxes(folder):
    table = load_wsol_dataset("folder", folder, "train")
    return {
        image_id.removeprefix("train/"): [[round(edge, 3) for edge in box] for box in of_image]
        for image_id, of_image in zip(table["image_id"], table["boxes"], strict=True)
        if of_image
    }


def refuses(folder, message):
    with pytest.raises(DatasetError, match=message):
        load_wsol_dataset("folder", folder, "train")


def write_boxes(folder, rows, **fields):
    names = [f"{name}/{number}.jpg" for number in range(3) for name in ("cat", "dog")]
    lines = [
        json.dumps({"file_name": name, "objects": {"bbox": [box]}, **fields})
        for name, box in zip(names, rows, strict=False)
    ]
    (folder / "train/metadata.jsonl").write_text("\n".join(lines))


def write_xml(folder, size, box=(101, 101, 300, 300)):
    width, height = size
    edges = "".join(
        f"<{edge}>{value}</{edge}>" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    (folder / "train/cat/0.xml").write_text(
        f"<annotation><size><width>{width}</width><height>{height}</height></size>"
        f"<object><name>cat</name><bndbox>{edges}</bndbox></object></annotation>"
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), [100, 100, 300, 300]),
        ((1280, 960), [50, 50, 150, 150]),
        (("1280.0", "960.0"), [50, 50, 150, 150]),
        ((320, 240), [200, 200, 600, 600]),
        ((0, 0), [100, 100, 300, 300]),
        (("", ""), [100, 100, 300, 300]),
    ],
)
def test_size_of_voc(tmp_path, write_image, size, expected):
    folder = with_images(tmp_path, write_image, 640, 640 if expected[2] == 600 else 480)
    if expected[2] == 600:
        size = (320, 320)
    write_xml(folder, size)
    assert boxes(folder) == {"cat/0.jpg": [expected]}


def test_size_of_coco_labelme_and_metadata(folder):
    half = {"cat/0.jpg": [[50, 50, 150, 100]]}
    content = {
        "images": [{"id": 1, "file_name": "cat/0.jpg", "width": 1280, "height": 960}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [100, 100, 200, 100]}],
    }
    (folder / "train/coco.json").write_text(json.dumps(content))
    assert boxes(folder) == half
    (folder / "train/coco.json").unlink()
    shape = {"label": "cat", "points": [[300, 200], [100, 100]], "shape_type": "rectangle"}
    content = {"imagePath": "stale.jpg", "imageWidth": 1280, "imageHeight": 960, "shapes": [shape]}
    (folder / "train/cat/0.json").write_text(json.dumps(content))
    assert boxes(folder) == half
    (folder / "train/cat/0.json").unlink()
    write_boxes(folder, [[100, 100, 200, 100]], width=1280, height=960)
    assert boxes(folder) == half


def test_exchanged_width_and_height_are_counted(folder, caplog):
    write_xml(folder, (480, 640), (101, 101, 600, 400))
    assert boxes(folder) == {"cat/0.jpg": [[100, 100, 600, 400]]}
    assert "1 image of the train split whose annotation has width and height swapped" in caplog.text
    write_xml(folder, (480, 640), (101, 101, 300, 600))
    refuses(folder, "cat/0.jpg: box .* leaves its image of 640×480")


def test_another_shape_is_refused(folder):
    write_xml(folder, (500, 500))
    refuses(folder, "cat/0.jpg: its boxes were drawn on 500×500 pixels, but it has 640×480, which is another shape")


@pytest.mark.parametrize(
    ("rows", "form", "first"),
    [
        ([[0.1, 0.2, 0.9, 0.95], [0, 0.1, 0.7, 0.8], [0.5, 0.5, 0.9, 0.9]], "x_min, y_min", [64, 96, 576, 456]),
        ([[0.1, 0.2, 0.3, 0.4], [0, 0.1, 0.7, 0.8], [0.6, 0.1, 0.3, 0.8]], "x, y, width", [64, 96, 256, 288]),
        ([[0.5, 0.5, 0.9, 0.9], [0.8, 0.6, 0.3, 0.5], [0.25, 0.25, 0.3, 0.3]], "of the centre", [32, 24, 608, 456]),
        ([[0, 0, 1, 1]], "x, y, width", [0, 0, 640, 480]),
    ],
)
def test_fractions(folder, caplog, rows, form, first):
    write_boxes(folder, rows)
    assert boxes(folder)["cat/0.jpg"] == [first]
    assert form in caplog.text and "in fractions of the image and nothing else, and were read as that" in caplog.text


def test_fractions_of_which_the_form_is_not_certain(folder):
    write_boxes(folder, [[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.4, 0.5]])
    refuses(folder, "x, y, width, height in fractions or x_min, .* nothing in the file tells these apart")


def test_fractions_among_pixels(folder):
    write_boxes(folder, [[100, 100, 200, 200], [0.1, 0.2, 0.3, 0.4]])
    refuses(folder, r"metadata.jsonl, line 2: the box \[0.1, 0.2, 0.3, 0.4\] is in fractions, but others .* in pixels")


def test_fractions_of_voc_and_coco(folder, caplog):
    write_xml(folder, (640, 480), (0.1, 0.2, 0.5, 0.6))
    assert boxes(folder) == {"cat/0.jpg": [[64, 96, 320, 288]]}
    assert "were read as fractions of the image:\n  - train/cat/0.jpg" in caplog.text
    (folder / "train/cat/0.xml").unlink()
    content = {
        "images": [{"id": 1, "file_name": "cat/0.jpg", "width": 640, "height": 480}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0.1, 0.1, 0.5, 0.5]}],
    }
    (folder / "train/coco.json").write_text(json.dumps(content))
    assert boxes(folder) == {"cat/0.jpg": [[64, 48, 384, 288]]}


PERCENT = [[10, 20, 30, 40], [0, 10, 70, 80], [50, 50, 40, 40], [60, 10, 30, 80], [5, 5, 90, 90], [40, 20, 50, 60]]


def test_percent(folder, caplog):
    write_boxes(folder, [[*PERCENT[0][:3], 40.5], *PERCENT[1:]])
    assert boxes(folder)["cat/0.jpg"] == [[64, 96, 256, 290.4]]
    assert "x, y, width, height in percent of the image and nothing else" in caplog.text


@pytest.mark.parametrize("rows", [PERCENT, [[25.5, 25, 50, 50], [10, 10.5, 80, 80]]])
def test_what_may_be_percent_or_pixels(folder, rows):
    write_boxes(folder, rows)
    refuses(folder, "its boxes may be x, y, width, height in pixels or x, y, width, height in percent")


def test_many_boxes_in_a_corner_are_pixels_with_a_word(folder, caplog):
    write_boxes(folder, [[10, 10, 60, 60]] * 6)
    assert boxes(folder)["dog/2.jpg"] == [[10, 10, 70, 70]]
    assert "They were read as pixels; if they are percentages" in caplog.text


def test_few_small_boxes_are_pixels_with_a_word(folder, caplog):
    write_boxes(folder, [[10, 10, 60, 60]])
    assert boxes(folder) == {"cat/0.jpg": [[10, 10, 70, 70]]}
    assert "within the first 100 pixels of images of 640×480 and more. They were read as pixels" in caplog.text


def test_percent_on_small_images(tmp_path, write_image, caplog):
    folder = with_images(tmp_path, write_image, 64, 48)
    write_boxes(folder, [[25, 25, 50, 50], [10, 10, 80, 80], [40, 50, 50, 45], [5, 5, 90, 90]])
    assert boxes(folder)["cat/0.jpg"] == [[16, 12, 48, 36]]
    assert "in percent of the image" in caplog.text


def test_pixels_on_small_images_without_a_word(tmp_path, write_image, caplog):
    folder = with_images(tmp_path, write_image, 90, 80)
    write_boxes(folder, [[2, 3, 4, 5], [0, 0, 90, 80], [10.5, 3, 4, 5]])
    assert boxes(folder)["cat/0.jpg"] == [[2, 3, 6, 8]]
    assert caplog.text == ""


def test_corners_in_pixels(folder, caplog):
    write_boxes(folder, [[100, 200, 600, 400], [0, 100, 500, 470], [300, 300, 600, 400], [400, 10, 630, 80]])
    assert boxes(folder)["cat/0.jpg"] == [[100, 200, 600, 400]]
    assert "fit x_min, y_min, x_max, y_max in pixels and nothing else" in caplog.text


def test_one_wrong_box_does_not_change_the_others(folder):
    rows = [[100, 100, 200, 200], [10, 10, 600, 400], [50, 50, 640, 100], [5, 5, 300, 300], [1, 1, 300, 300]]
    write_boxes(folder, rows)
    refuses(folder, r"cat/1.jpg: box \[50, 50, 690, 150\] .* leaves its image")


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("file_name,xmin,ymin,xmax,ymax", "64,96,256,288"),
        ("file_name,x1,y1,x2,y2", "64,96,256,288"),
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "1280,960,cat,128,192,512,576"),
        ("file_name,label,x,y,width,height", "cat,64,96,192,192"),
        ("file_name,bbox_x,bbox_y,bbox_width,bbox_height", "64,96,192,192"),
        ("file_name,x_center,y_center,width,height", "0.25,0.4,0.3,0.4"),
        ("file_name,bbox", '"[64, 96, 192, 192]"'),
        ("file_name,bbox", "64 96 192 192"),
        ("file_name;xmin;ymin;xmax;ymax", "64;96;256;288"),
        ("file_name\txmin\tymin\txmax\tymax", "64\t96\t256\t288"),
    ],
)
def test_columns_of_boxes(folder, header, cells):
    delimiter = next(sign for sign in ";\t," if sign in header)
    (folder / "train/metadata.csv").write_text(f"{header}\ncat/0.jpg{delimiter}{cells}\n")
    assert boxes(folder) == {"cat/0.jpg": [[64, 96, 256, 288]]}


def test_rows_of_one_image_are_its_objects(folder):
    rows = ["cat/0.jpg,cat,1,2,30,40", "cat/0.jpg,person,1,1,9,9", "cat/0.jpg,cat,5,6,70,80", "dog/0.jpg,dog,,,,"]
    (folder / "train/metadata.csv").write_text("\n".join(["file_name,label,xmin,ymin,xmax,ymax", *rows]))
    assert boxes(folder) == {"cat/0.jpg": [[1, 2, 30, 40], [5, 6, 70, 80]]}
    (folder / "train/metadata.csv").write_text("file_name,label,xmin,ymin,xmax,ymax\ncat/0.jpg,cat,a,2,3,4\n")
    refuses(folder, "metadata.csv, line 2: .* four numbers of a box were expected, but .*'a'")


@pytest.mark.parametrize(
    "objects",
    [
        {"objects": [{"bbox": [64, 96, 192, 192], "category": "cat"}, {"bbox": [1, 1, 5, 5], "category": "person"}]},
        {"objects": {"bbox": [{"x_min": 64, "y_min": 96, "x_max": 256, "y_max": 288}]}},
        {"bbox": [64, 96, 192, 192]},
    ],
)
def test_other_structs_of_metadata(folder, objects):
    (folder / "train/metadata.jsonl").write_text(json.dumps({"file_name": "cat/0.jpg", **objects}))
    assert boxes(folder) == {"cat/0.jpg": [[64, 96, 256, 288]]}
