"""Names of files as file systems, tools and other machines write them."""

import os
import shutil
import unicodedata

import pytest

from modeling_sat.data import DatasetError, load_wsol_dataset


@pytest.fixture
def read(tmp_path, write_image, write_jsonl):
    """The labels of two images with one name on disk and another in metadata."""

    def read(on_disk: tuple[str, str], in_metadata: tuple[str, str], metadata="metadata.jsonl") -> dict[str, str]:
        for name in on_disk:
            write_image(tmp_path / name)
        records = zip(in_metadata, ("cat", "dog"), strict=True)
        write_jsonl(
            tmp_path / metadata,
            *({"file_name": str(name).format(root=tmp_path), "label": label} for name, label in records),
        )
        table = load_wsol_dataset("folder", tmp_path, "train")
        return dict(zip(table["image_id"], table.features["label"].int2str(table["label"][:]), strict=True))

    return read


@pytest.mark.parametrize(
    ("on_disk", "in_metadata"),
    [
        ("caf\u0065\u0301.png", "caf\u00e9.png"),
        ("caf\u00e9.png", "caf\u0065\u0301.png"),
        ("IMG_1.PNG", "img_1.png"),
        ("img_1.png", "Img_1.PNG"),
        ("my photo.png", "my%20photo.png"),
        ("my%20photo.png", "my photo.png"),
        ("caf\u00e9.png", "caf%C3%A9.png"),
        ("a.png", "./a.png"),
        ("a.png", "{root}/a.png"),
        ("a.png", "/home/me/photographs/a.png"),
        ("a.png", "C:\\Users\\me\\a.png"),
        ("images/a.png", "D:/old/images/a.png"),
        ("images/a.png", "/home/me/raw/a.png"),
        ("images/a.png", "https://bucket.example.org/x/images/a.png?signature=1"),
        ("images/my photo.png", "https://example.org/images/my%20photo.png"),
        ("a.png", "file:///home/me/a.png"),
        ("a.png", "s3://bucket/folder/a.png"),
    ],
)
def test_found(read, on_disk, in_metadata):
    other = "images/z.png" if on_disk.startswith("images/") else "z.png"
    assert read((on_disk, other), (in_metadata, other)) == {on_disk: "cat", other: "dog"}


def test_names_that_differ_in_case_alone(read):
    assert read(("A.png", "a.png"), ("A.png", "a.png")) == {"A.png": "cat", "a.png": "dog"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("https://example.org/b.png", "names the URL 'https://example.org/b.png', .*no such file is read"),
        ("/old/b.png", "names the absolute path '/old/b.png', which is outside the data folder"),
        ("a.jpg", "names 'a.jpg', but there is no such image; there is a.png"),
        ("../../a.png", "which is outside the data folder"),
    ],
)
def test_reason_is_in_the_first_sentence(read, name, message):
    with pytest.raises(
        DatasetError, match="no annotation gives any of them a label: 2 annotation records .*\n.*" + message
    ):
        read(("a.png", "z.png"), (name, "../z2.png"))


def test_absolute_path_of_another_class_is_not_taken(class_folders, write_jsonl):
    write_jsonl(
        class_folders / "train/metadata.jsonl", {"file_name": "/old/bird/0.png", "objects": {"bbox": [[1, 1, 2, 2]]}}
    )
    with pytest.raises(DatasetError, match=r"names the absolute path '/old/bird/0.png'"):
        load_wsol_dataset("folder", class_folders)


def test_metadata_without_labels_is_named(tmp_path, write_image, write_jsonl):
    write_image(tmp_path / "a.png")
    write_jsonl(tmp_path / "metadata.jsonl", {"file_name": "a.png", "text": "a cat"})
    with pytest.raises(DatasetError, match=r"gives any of them a label: metadata.jsonl, line 1 .* give no label"):
        load_wsol_dataset("folder", tmp_path)


def test_file_of_labels_that_is_not_read_is_named(tmp_path, write_image):
    write_image(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,cat\n")
    with pytest.raises(
        DatasetError, match=r"gives any of them a label: the folder holds 1 file: 1 .csv \(labels.csv\)"
    ):
        load_wsol_dataset("folder", tmp_path)


@pytest.mark.parametrize("target", ["..", ".", "../../.."])
def test_links_that_lead_back(class_folders, target, caplog):
    (class_folders / "train/cat/back").symlink_to(target)
    assert len(load_wsol_dataset("folder", class_folders, "train")) == 6
    assert "they lead back to a folder that they lie in: 1 links" in caplog.text


def test_links_to_elsewhere_are_followed(class_folders, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "bird"
    shutil.copytree(class_folders / "train/cat", elsewhere)
    (class_folders / "train/bird").symlink_to(elsewhere)
    assert len(load_wsol_dataset("folder", class_folders, "train")) == 9


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"b\xe4r/0.png"])
def test_names_that_are_not_utf8(class_folders, name):
    file = os.fsencode(class_folders / "train") + (b"/" if b"/" in name else b"/cat/") + name
    os.makedirs(os.path.dirname(file), exist_ok=True)
    shutil.copy(class_folders / "train/cat/0.png", file)
    with pytest.raises(DatasetError, match=r"1 bad image:\n.*\\x.*: its name is not UTF-8; rename it"):
        load_wsol_dataset("folder", class_folders, "train")
    assert len(load_wsol_dataset("folder", class_folders, "train", on_bad_image="skip")) == 6


def test_class_in_two_normal_forms(class_folders):
    for split, form in (("train", "NFD"), ("test", "NFC")):
        (class_folders / split / "cat").rename(class_folders / split / unicodedata.normalize(form, "Bär"))
    assert load_wsol_dataset("folder", class_folders, "test").features["label"].names == ["Bär", "dog"]


def test_class_of_files_that_cannot_be_read(class_folders):
    (class_folders / "train/bird").mkdir()
    (class_folders / "train/bird/0.HEIC").touch()
    with pytest.raises(DatasetError, match=r"train/bird .* 1 .heic .*, which cannot be read as images"):
        load_wsol_dataset("folder", class_folders)


@pytest.mark.parametrize("name", ["@eaDir", "$RECYCLE.BIN", "#recycle", "lost+found", "System Volume Information"])
def test_folders_of_systems_are_no_classes(class_folders, write_image, name):
    write_image(class_folders / "train" / name / "0.png")
    write_image(class_folders / "train/cat" / name / "0.png/thumb.png")
    table = load_wsol_dataset("folder", class_folders, "train")
    assert (len(table), table.features["label"].names) == (6, ["cat", "dog"])


def test_images_without_suffix_are_named(class_folders, caplog):
    (class_folders / "train/cat/0.png").rename(class_folders / "train/cat/0")
    load_wsol_dataset("folder", class_folders, "train")
    assert "files that are not read, 1 file: 1 without suffix (train/cat/0)" in caplog.text
