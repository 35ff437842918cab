"""What the folder reader refuses, and whether the sentence names the file and the remedy."""

import json
import shutil

import pytest

from modeling_sat.data import DatasetError, load_wsol_dataset


def refuses(folder, message, split="train", **options):
    with pytest.raises(DatasetError, match=message):
        load_wsol_dataset("folder", folder, split, **options)


def test_truncated_unreadable_and_empty_images(class_folders, caplog):
    broken = class_folders / "train/cat"
    (broken / "0.png").write_bytes((broken / "0.png").read_bytes()[:200])
    (broken / "1.png").write_bytes(b"not an image")
    (class_folders / "train/dog/1.png").write_bytes(b"")
    refuses(class_folders, "3 bad images:\n  - train/cat/0.png: the image cannot be decoded")
    refuses(class_folders, 'pass on_bad_image="skip" to leave them out')

    table = load_wsol_dataset("folder", class_folders, "train", on_bad_image="skip")
    assert table["image_id"][:] == ["train/cat/2.png", "train/dog/0.png", "train/dog/2.png"]
    assert "Left out 3 bad images of the train split" in caplog.text


def test_truncated_jpeg(class_folders, write_image):
    path = write_image(class_folders / "train/cat/0.jpg", 200, 200)
    path.write_bytes(path.read_bytes()[:-500])
    refuses(class_folders, "train/cat/0.jpg: the image cannot be decoded")


def test_ten_problems_are_listed_and_the_others_counted(class_folders):
    for number in range(14):
        (class_folders / f"train/cat/bad{number:02}.png").touch()
    refuses(class_folders, "14 bad images:(\n  - .*){10}\n  … and 4 more")


def test_no_usable_image_of_a_class(class_folders):
    for path in (class_folders / "train/cat").iterdir():
        path.write_bytes(b"")
    refuses(class_folders, "no usable image of 1 class: cat. Add images or remove the class", on_bad_image="skip")


def test_empty_class_folder(class_folders):
    (class_folders / "train/bird").mkdir()
    refuses(class_folders, "class folders without images: train/bird")


def test_one_class_only(class_folders):
    shutil.rmtree(class_folders / "train/dog")
    shutil.rmtree(class_folders / "test/dog")
    refuses(class_folders, "the single class 'cat'; at least two were expected")


def test_class_that_train_lacks(class_folders, write_image):
    write_image(class_folders / "test/bird/0.png")
    refuses(class_folders, "The test split has classes that train lacks: bird; train has cat, dog")


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([0, 0, 22, 5], r"cat/0.png: box \[0, 0, 22, 5\] .* leaves its image of 20×10 pixels; correct or remove it"),
        ([-3, 0, 5, 5], "leaves its image"),
        ([2, 2, 0, 5], "has no area"),
        ([2, 2, 5, -1], "has no area"),
        ([20.5, 2, 0.5, 5], "has no area inside its image"),
        ([float("nan"), 2, 5, 5], "not made of finite numbers"),
    ],
)
def test_impossible_boxes(class_folders, write_jsonl, box, message):
    write_jsonl(class_folders / "train/metadata.jsonl", {"file_name": "cat/0.png", "objects": {"bbox": [box]}})
    refuses(class_folders, message)
    assert len(load_wsol_dataset("folder", class_folders, "train", on_bad_image="skip")) == 5


@pytest.mark.parametrize(
    "line",
    ["{broken", "[1, 2]", '{"label": "cat"}', '{"file_name": "cat/0.png", "objects": {"bbox": [[1, 2, 3]]}}'],
)
def test_unreadable_metadata_line(class_folders, line):
    (class_folders / "train/metadata.jsonl").write_text(f'{{"file_name": "cat/1.png"}}\n\n{line}\n')
    refuses(class_folders, r'train/metadata.jsonl, line 3: \{"file_name": …')


def test_metadata_csv_without_file_name(class_folders):
    (class_folders / "train/metadata.csv").write_text("file,label\ncat/0.png,cat\n")
    refuses(class_folders, "train/metadata.csv, line 2: columns file_name and label were expected")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "no element found"),
        ("<annotation><object><name>cat</name></object></annotation>", "'bndbox' is missing"),
        (
            "<annotation><object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object></annotation>",
            "'ymin' is missing",
        ),
    ],
)
def test_unreadable_voc(class_folders, text, message):
    (class_folders / "train/cat/0.xml").write_text(text)
    refuses(class_folders, f"train/cat/0.xml: Pascal VOC objects were expected.* but {message}")


def test_unreadable_coco(class_folders, write_coco):
    path = class_folders / "train/coco.json"
    write_coco(path, {"cat/0.png": [("cat", [1, 1, 2, 2])]})
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = 99
    path.write_text(json.dumps(content))
    refuses(class_folders, "train/coco.json, annotation 0: .*99 is missing or unknown")
    path.write_text("{")
    refuses(class_folders, r"train/coco.json: COCO or LabelMe annotations were expected")


@pytest.mark.parametrize("name", ["cat/absent.png", "absent.png"])
def test_annotation_of_an_absent_file(class_folders, write_jsonl, name):
    write_jsonl(class_folders / "train/metadata.jsonl", {"file_name": name})
    refuses(class_folders, f"train/metadata.jsonl, line 1: it names '{name}', but there is no such image")
    assert len(load_wsol_dataset("folder", class_folders, "train", on_bad_image="skip")) == 6
    assert len(load_wsol_dataset("folder", class_folders, "test")) == 2


def test_voc_of_an_absent_file(class_folders, write_voc):
    write_voc(class_folders / "train/cat/absent.xml", ("cat", 1, 1, 2, 2))
    refuses(class_folders, "train/cat/absent.xml: it names 'absent', but there is no such image")


@pytest.mark.parametrize("name", ["../../secret.png", "..\\..\\secret.png", "/etc/secret.png"])
def test_files_outside_are_not_read(class_folders, write_image, write_jsonl, name):
    write_image(class_folders.parent / "secret.png")
    write_jsonl(class_folders / "train/metadata.jsonl", {"file_name": name, "label": "cat"})
    refuses(class_folders, "which is outside the data folder; no such file is read")


def test_image_annotated_twice(class_folders, write_jsonl, write_voc):
    write_jsonl(class_folders / "train/metadata.jsonl", {"file_name": "cat/0.png"})
    write_voc(class_folders / "train/cat/0.xml")
    refuses(class_folders, "train/cat/0.png is also annotated in train/cat/0.xml; keep one")


def test_flat_folder_without_labels(tmp_path, write_image):
    write_image(tmp_path / "train/0.png")
    refuses(
        tmp_path, r"holds 1 loose images, but no annotation gives any of them a label: they are not in class folders"
    )


def test_flat_image_without_label(tmp_path, write_image, write_jsonl):
    for name in "abc":
        write_image(tmp_path / f"{name}.png")
    write_jsonl(tmp_path / "metadata.jsonl", *({"file_name": f"{name}.png", "label": name} for name in "ab"))
    refuses(tmp_path, "c.png: it has no label")


def test_loose_images_beside_class_folders(class_folders, write_image):
    write_image(class_folders / "train/0.png")
    refuses(class_folders, r"train holds both loose images \(0.png, …\) and folders of images \(cat, dog\)")


def test_two_folders_of_one_split(class_folders, write_image):
    for name in ("val", "valid"):
        write_image(class_folders / name / "cat/0.png")
    refuses(class_folders, "two folders of the validation split, val and valid")


def test_folder_without_images(tmp_path):
    refuses(tmp_path, "holds no images, but nothing.\nExpected was one of")
    (tmp_path / "notes.txt").touch()
    refuses(tmp_path, "holds no images, but notes.txt.\nExpected was one of")


def test_split_folder_without_images(class_folders):
    (class_folders / "val").mkdir()
    refuses(class_folders, "val holds no images, but nothing")
