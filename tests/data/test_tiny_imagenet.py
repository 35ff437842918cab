import pytest

from modeling_sat.data import DatasetError, load_wsol_dataset


@pytest.fixture
def tiny(tmp_path, write_image):
    (tmp_path / "wnids.txt").write_text("n2\nn1\nn3\n")
    (tmp_path / "words.txt").write_text("n1\tcrane\nn2\tgoldfish, Carassius auratus\nn3\tcrane, machine\n")
    for wnid in ("n1", "n2", "n3"):
        write_image(tmp_path / f"train/{wnid}/images/{wnid}_0.JPEG", 64, 64)
        (tmp_path / f"train/{wnid}/{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t10\t63\t40\n")
    write_image(tmp_path / "val/images/val_0.JPEG", 64, 64)
    (tmp_path / "val/val_annotations.txt").write_text("val_0.JPEG\tn1\t5\t6\t5\t8\n")
    return tmp_path


def test_layout(tiny):
    splits = load_wsol_dataset("tiny_imagenet", tiny)
    assert splits["train"].features["label"].names == ["goldfish", "crane (n1)", "crane (n3)"]
    assert splits["train"]["label"][:] == [0, 1, 2]
    assert splits["train"]["image_id"][0] == "train/n2/images/n2_0.JPEG"
    assert splits["train"]["boxes"][0] == [[0, 10, 64, 41]]
    assert splits["test"]["boxes"][0] == [[5, 6, 6, 9]]
    assert splits["test"]["label"][0] == 1
    assert "mask" not in splits["test"].column_names


def test_another_folder(tiny):
    with pytest.raises(
        DatasetError, match=r"has wnids.txt in its folder, but .* does not; it holds images/, val_annot"
    ):
        load_wsol_dataset("tiny_imagenet", tiny / "val")


def test_unreadable_line(tiny):
    (tiny / "val/val_annotations.txt").write_text("val_0.JPEG\tn1\t5\t6\t5\t8\nval_1.JPEG n1 0 0 1 1\n")
    with pytest.raises(
        DatasetError, match=r"val/val_annotations.txt has unreadable lines(.|\n)*line 2: 'val_1.JPEG n1"
    ):
        load_wsol_dataset("tiny_imagenet", tiny, "test")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_7.JPEG\tn1\t0\t0\t1\t1", "val/images/val_7.JPEG: the file does not exist"),
        ("val_0.JPEG\tn9\t0\t0\t1\t1", "classes that wnids.txt lacks"),
        ("val_0.JPEG\tn1\t0\t0\t70\t1", "leaves its image of 64×64"),
        ("../../../secret\tn1\t0\t0\t1\t1", "unreadable lines"),
    ],
)
def test_bad_annotations(tiny, line, message):
    (tiny / "val/val_annotations.txt").write_text(line)
    with pytest.raises(DatasetError, match=message):
        load_wsol_dataset("tiny_imagenet", tiny, "test")


def test_real(real_data):
    test = load_wsol_dataset("tiny_imagenet", real_data / "tiny-imagenet-200", "test")
    assert len(test) == 3000
    assert test.features["label"].num_classes == 200
    assert test.features["label"].names[:3] == ["Egyptian cat", "reel", "volleyball"]
    assert test["boxes"][0] == [[0, 32, 45, 63]]
