"""Names of objects, and the formats and encodings of annotation files."""

import json

import pytest

from modeling_sat.data import DatasetError, load_wsol_dataset


def boxes(folder, split="train"):
    table = load_wsol_dataset("folder", folder, split)
    return {
        image_id.removeprefix("train/"): [[round(edge, 3) for edge in box] for box in of_image]
        for image_id, of_image in zip(table["image_id"], table["boxes"], strict=True)
        if of_image
    }


def labels(folder, split="train"):
    table = load_wsol_dataset("folder", folder, split)
    return dict(zip(table["image_id"], table.features["label"].int2str(table["label"][:]), strict=True))


def refuses(folder, message):
    with pytest.raises(DatasetError, match=message):
        load_wsol_dataset("folder", folder, "train")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_foreign_object_gives_no_box(class_folders, write_voc, caplog):
    write_voc(class_folders / "train/cat/0.xml", ("cat", 1, 1, 5, 5), ("person", 1, 1, 9, 9))
    write_voc(class_folders / "train/cat/1.xml", ("person", 1, 1, 9, 9))
    write_voc(class_folders / "train/dog/0.xml", ("dog", 1, 1, 6, 6))
    assert boxes(class_folders) == {"cat/0.png": [[0, 0, 5, 5]], "dog/0.png": [[0, 0, 6, 6]]}
    assert "1 of 3 annotated images have no box, since none of their objects has the name" in caplog.text
    assert "train/cat/1.png: class cat; objects person" in caplog.text


def test_an_object_of_another_class_gives_no_box(class_folders, write_voc):
    write_voc(class_folders / "train/cat/0.xml", ("dog", 1, 1, 5, 5))
    write_voc(class_folders / "train/dog/0.xml", ("dog", 1, 1, 6, 6))
    assert boxes(class_folders) == {"dog/0.png": [[0, 0, 6, 6]]}


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("Cat", "cat"), ("cat", "CAT "), ("sports_car", "Sports Car"), ("fire truck", "fire-truck"), ("cats", "cat"),
        ("box", "boxes"), ("001.Black_footed_Albatross", "black footed albatross"), ("n02085620-Chihuahua", "chihuahua"),
        ("Straße", "STRASSE"), ("caf\u00e9", "cafe\u0301"),
    ],
)  # fmt: skip
def test_spellings_of_a_name(class_folders, write_voc, folder, name):
    for split in ("train", "test"):
        (class_folders / split / "cat").rename(class_folders / "renaming")
        (class_folders / "renaming").rename(class_folders / split / folder)
    write_voc(class_folders / f"train/{folder}/0.xml", (name, 1, 1, 5, 5), ("person", 1, 1, 9, 9))
    assert boxes(class_folders) == {f"{folder}/0.png": [[0, 0, 5, 5]]}


def test_a_spelling_is_not_another_class():
    from modeling_sat.data.objects import same_name

    for first, second in [("cat", "caterpillar"), ("1", "2"), ("n01440764", "n01443537"), ("cat", "category")]:
        assert not same_name(first, second)


def test_a_plural_that_is_a_class_of_its_own(tmp_path, write_image, write_voc):
    for name in ("glass", "glasses"):
        write_image(tmp_path / f"train/{name}/0.png")
        write_voc(tmp_path / f"train/{name}/0.xml", ("glass", 1, 1, 5, 5), ("glasses", 1, 1, 9, 9))
    assert boxes(tmp_path) == {"glass/0.png": [[0, 0, 5, 5]], "glasses/0.png": [[0, 0, 9, 9]]}


def test_one_name_for_all(class_folders, write_voc, caplog):
    for number, name in enumerate(("cat", "dog")):
        write_voc(class_folders / f"train/{name}/0.xml", ("animal", 1, 1, 5 + number, 5))
    assert boxes(class_folders) == {"cat/0.png": [[0, 0, 5, 5]], "dog/0.png": [[0, 0, 6, 5]]}
    assert "All 2 objects that are annotated as 'animal' were taken to be of the class of their image" in caplog.text


def test_a_name_for_anything(class_folders, write_voc, caplog):
    write_voc(class_folders / "train/cat/0.xml", ("Object", 1, 1, 5, 5))
    write_voc(class_folders / "train/dog/0.xml", ("dog", 1, 1, 5, 5), ("person", 1, 1, 6, 6))
    assert boxes(class_folders) == {"cat/0.png": [[0, 0, 5, 5]], "dog/0.png": [[0, 0, 5, 5]]}
    assert "annotated as 'Object'" in caplog.text


def coco(*annotations, ids=(1, 2)):
    return {
        "images": [{"id": ids[0], "file_name": "cat/0.png"}, {"id": ids[1], "file_name": "dog/0.png"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 90, "name": "dog"}],
        "annotations": list(annotations),
    }


def test_coco_crowds_polygons_and_boxes_without_area(class_folders, caplog):
    content = coco(
        {"image_id": 1, "category_id": 1, "bbox": [1, 1, 19, 9], "iscrowd": 1},
        {"image_id": 1, "category_id": 1, "segmentation": [[2, 2, 8, 2, 8, 6], [4, 4, 9, 4, 9, 7]]},
        {"image_id": 2, "category_id": 90, "bbox": [5, 5, 0, 0], "segmentation": []},
        {"image_id": 2, "category_id": 90, "bbox": [5, 5, 4, 0]},
        {"image_id": 2, "category_id": 90, "bbox": [5, 5, 4, 3]},
    )
    write(class_folders / "train/coco.json", content)
    assert boxes(class_folders) == {"cat/0.png": [[2, 2, 9, 7]], "dog/0.png": [[5, 5, 9, 8]]}
    assert "coco.json: left out 2 objects whose box has no width or no height" in caplog.text


def test_coco_mask_of_runs(class_folders):
    runs = {"size": [10, 20], "counts": [2 * 10 + 3, 2, 8, 2, 165]}
    write(class_folders / "train/coco.json", coco({"image_id": 1, "category_id": 1, "segmentation": runs}))
    assert boxes(class_folders) == {"cat/0.png": [[2, 3, 4, 5]]}


def test_coco_ids_as_text(class_folders):
    write(
        class_folders / "train/coco.json",
        coco({"image_id": "1", "category_id": "1", "bbox": [1, 1, 4, 4]}, ids=(1, "2")),
    )
    assert boxes(class_folders) == {"cat/0.png": [[1, 1, 5, 5]]}


@pytest.mark.parametrize(
    ("images", "categories", "message"),
    [
        (["cat/0.png", "dog/0.png"], ["cat"], "id 1 is both 'cat/0.png' and 'dog/0.png'"),
        (["cat/0.png"], ["cat", "dog"], "id 1 is both 'cat' and 'dog'"),
    ],
)
def test_coco_ids_of_two(class_folders, images, categories, message):
    content = {
        "images": [{"id": 1, "file_name": name} for name in images],
        "categories": [{"id": 1, "name": name} for name in categories],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
    }
    write(class_folders / "train/coco.json", content)
    refuses(class_folders, message)


def test_coco_without_any_box(class_folders):
    write(class_folders / "train/coco.json", coco({"image_id": 1, "category_id": 1}))
    refuses(class_folders, "coco.json, annotation 0: .* 'bbox' is missing")


def labelme(*shapes, **fields):
    shapes = [{"label": name, "shape_type": kind, "points": points} for name, kind, points in shapes]
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": "..\\stale.jpg",
        "imageData": None,
    } | fields


def test_labelme(class_folders, caplog):
    content = labelme(
        ("cat", "rectangle", [[8, 6], [2, 1]]),
        ("cat", "polygon", [[1, 1], [5, 2], [3, 6]]),
        ("cat", "circle", [[10, 5], [10, 8]]),
        ("cat", "point", [[5, 5]]),
        ("person", "rectangle", [[0, 0], [9, 9]]),
    )
    write(class_folders / "train/cat/0.json", content)
    assert boxes(class_folders) == {"cat/0.png": [[2, 1, 8, 6], [1, 1, 5, 6], [7, 2, 13, 8]]}
    assert "left out 1 points and lines" in caplog.text
    write(class_folders / "train/cat/0.json", labelme() | {"shapes": [{"label": "cat"}]})
    refuses(class_folders, "train/cat/0.json, shape 0: label and points .* 'points' is missing")


def test_labels_from_labelme(tmp_path, write_image):
    for stem, name in (("a", "cat"), ("b", "dog")):
        write_image(tmp_path / f"{stem}.png")
        write(tmp_path / f"{stem}.json", labelme((name, "rectangle", [[1, 1], [5, 6]])))
        write_image(tmp_path / f"{stem}{stem}.png")
        write(tmp_path / f"{stem}{stem}.json", labelme(flags={"cat": name == "cat", "dog": name == "dog"}))
    assert labels(tmp_path) == {"a.png": "cat", "b.png": "dog", "aa.png": "cat", "bb.png": "dog"}


NAMES = [
    ("classes.txt", "cat\ndog\n"),
    ("obj.names", "cat\ndog"),
    ("data.yaml", "names: [cat, dog]"),
    ("data.yaml", "names:\n  0: cat\n  1: dog"),
]


@pytest.mark.parametrize(("file", "content"), NAMES)
def test_yolo_beside_images(class_folders, file, content):
    write(class_folders / file, content)
    write(class_folders / "train/cat/0.txt", "0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.1 0.1\n\n")
    write(class_folders / "train/cat/1.txt", "0 0.5 0.5 0.2 0.4 0.93\n")
    write(class_folders / "train/dog/0.txt", "1 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6\n")
    write(class_folders / "train/dog/1.txt", "a dog on a mat\n")
    assert boxes(class_folders) == {
        "cat/0.png": [[8, 3, 12, 7]],
        "cat/1.png": [[8, 3, 12, 7]],
        "dog/0.png": [[2, 1, 10, 6]],
    }


@pytest.mark.parametrize(
    ("images", "texts"), [("images/{}", "labels/{}"), ("{}/images", "{}/labels"), ("{}", "{}/labels")]
)
def test_yolo_in_parallel_folders(tmp_path, write_image, images, texts):
    for split, width in (("train", 0.2), ("val", 0.4)):
        for number, stem in enumerate("ab"):
            write_image(tmp_path / images.format(split) / f"{stem}.png")
            write(tmp_path / texts.format(split) / f"{stem}.txt", f"{number} 0.5 0.5 {width} 0.4")
    write(tmp_path / "data.yaml", "train: ../train/images\nnames: ['cat', 'dog']")
    assert list(labels(tmp_path).values()) == ["cat", "dog"]
    assert list(boxes(tmp_path, "validation").values()) == [[[6, 3, 14, 7]]] * 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 50 50 20 20", "some number is not in 0 to 1"),
        ("7 .5 .5 .2 .2", "class 7 has no name; there are 1"),
        ("0 .5 .5 .2 .2\n0 .5", "there are 1 numbers after the class"),
        ("0 .5 .5 .2 .2\ncat .5 .5 .2 .2", "'cat'"),
    ],
)
def test_unreadable_yolo(class_folders, line, message):
    write(class_folders / "train/classes.txt", "cat")
    write(class_folders / "train/cat/0.txt", line)
    refuses(class_folders, f"train/cat/0.txt, line .: YOLO's class .* were expected, but .*{message}")


def test_yolo_classes_without_names(class_folders, caplog):
    for number, name in enumerate(("cat", "dog")):
        write(class_folders / f"train/{name}/0.txt", f"{number} 0.5 0.5 0.2 0.4")
    box = [[8, 3, 12, 7]]
    assert boxes(class_folders) == {"cat/0.png": box, "dog/0.png": box}
    assert "All 1 objects that are annotated as '1' were taken to be of the class of their image" in caplog.text
    write(class_folders / "train/cat/1.txt", "1 0.5 0.5 0.2 0.4")
    assert boxes(class_folders) == {}
    assert "train/dog/0.png: class dog; objects 1" in caplog.text


def voc(declared, comment="", edges=(1, 1, 5, 5)):
    box = "".join(f"<{edge}>{at}</{edge}>" for edge, at in zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
    declaration = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    return f"{declaration}<annotation><path>{comment}</path><object><name>cat</name><bndbox>{box}</bndbox></object></annotation>"


@pytest.mark.parametrize(
    ("declared", "actual", "comment"),
    [
        ("GBK", "gbk", "猫"), ("gb2312", "gbk", "貓"), ("GB18030", "gb18030", "貓"), ("Big5", "big5", "貓"),
        ("Shift_JIS", "cp932", "①ねこ"), ("EUC-JP", "euc-jp", "猫"), ("EUC-KR", "euc-kr", "고양이"),
        ("windows-1251", "cp1251", "кот"), ("windows-1252", "cp1252", "é"), ("ISO-8859-1", "latin-1", "é"),
        ("ISO-8859-15", "iso-8859-15", "€"), ("KOI8-R", "koi8-r", "кот"), ("UTF-16", "utf-16", "猫"),
        ("utf-16", "utf-16-le", "猫"), ("UTF-16", "utf-16-be", "猫"), ("utf-8", "utf-8-sig", "猫"), ("utf-16", "utf-8", "猫"), ("", "utf-8", "猫"),
    ],
)  # fmt: skip
def test_encodings_of_xml(class_folders, declared, actual, comment):
    (class_folders / "train/cat/0.xml").write_bytes(voc(declared, comment).encode(actual))
    assert boxes(class_folders) == {"cat/0.png": [[0, 0, 5, 5]]}


@pytest.mark.parametrize(
    ("declared", "actual", "message"),
    [
        ("klingon", "utf-8", "it declares the encoding 'klingon', which is unknown; save it as UTF-8"),
        ("utf-8", "latin-1", "it is not in the encoding utf-8 that it declares .* save it as UTF-8"),
        ("", "cp1251", "it is not in the encoding utf-8 that it should have"),
    ],
)
def test_encodings_that_are_not_as_declared(class_folders, declared, actual, message):
    (class_folders / "train/cat/0.xml").write_bytes(voc(declared, "кот" if actual == "cp1251" else "é").encode(actual))
    refuses(class_folders, f"train/cat/0.xml: {message}")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_of_json_and_csv(class_folders, encoding):
    expected = {"cat/0.png": [[1, 2, 4, 6]]}
    files = {
        "metadata.jsonl": json.dumps({"file_name": "cat/0.png", "objects": {"bbox": [[1, 2, 3, 4]]}}),
        "metadata.csv": "file_name,xmin,ymin,xmax,ymax\ncat/0.png,1,2,4,6\n",
        "coco.json": json.dumps(coco({"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]})),
        "cat/0.txt": "0 0.125 0.4 0.15 0.4",
    }
    write(class_folders / "classes.txt", "cat")
    for name, content in files.items():
        (class_folders / "train" / name).write_bytes(content.encode(encoding))
        assert boxes(class_folders) == expected
        (class_folders / "train" / name).unlink()


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "coco.json"])
def test_text_that_is_not_utf_8(class_folders, name):
    (class_folders / "train" / name).write_bytes('{"file_name": "cat/é.png"}'.encode("latin-1"))
    refuses(class_folders, f"train/{name}: .*UTF-8 or UTF-16 was expected, but line 1 holds bytes that are neither")


def test_an_image_without_objects_is_said_to_have_none(tmp_path, write_image, write_coco):
    for name in ("0.png", "1.png", "2.png"):
        write_image(tmp_path / name)
    write_coco(
        tmp_path / "coco.json", {"0.png": [("cat", [1, 1, 4, 4])], "1.png": [("dog", [1, 1, 4, 4])], "2.png": []}
    )
    refuses(
        tmp_path, "2.png: it has no label; it is not in a class folder and coco.json, image .* names no class for it"
    )
