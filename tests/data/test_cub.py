import shutil

import numpy as np
import pytest
from benchmark_mixin import BenchmarkMixin, Row, rectangle, write_lines, write_lists
from PIL import Image

from modeling_sat.data import DatasetError, MissingSplitError, load_wsol_dataset


ALBATROSS, AUKLET = "001.Black_footed_Albatross", "005.Crested_Auklet"
PATHS = [f"{ALBATROSS}/a.jpg", f"{ALBATROSS}/b.jpg", f"{AUKLET}/a.jpg", f"{AUKLET}/b.jpg", f"{AUKLET}/c.jpg"]
MASK = rectangle(3, 2, 8, 9)


@pytest.fixture
def benchmark(tmp_path, write_image):
    """Two classes of which the second one is number 5; three training and two test images, and two of CUBV2."""
    root = tmp_path / "CUB_200_2011"
    write_lines(root / "classes.txt", f"1 {ALBATROSS}", f"5 {AUKLET}")
    write_lines(root / "images.txt", *(f"{number} {path}" for number, path in enumerate(PATHS, 1)))
    write_lines(root / "image_class_labels.txt", "1 1", "2 1", "3 5", "4 5", "5 5")
    write_lines(root / "train_test_split.txt", "1 1", "2 0", "3 1", "4 0", "5 1")
    box = "3.0 2.0 5.0 7.0"
    write_lines(root / "bounding_boxes.txt", f"1 {box}", f"2 {box}", f"3 {box}", "4 15.5 2.0 10.0 9.0", f"5 {box}")
    for path in PATHS:
        write_image(root / "images" / path)
        mask = (tmp_path / "segmentations" / path).with_suffix(".png")
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(MASK * 255).save(mask)

    version_2 = {f"{ALBATROSS}/30107316117.jpg": 0, f"{AUKLET}/8.jpg": 1}
    for path in version_2:
        write_image(tmp_path / "CUBV2" / path, 30, 20)
    write_lists(tmp_path / "metadata/CUB/val", version_2, [f"{path},1,2,13,14" for path in version_2], (30, 20))
    return tmp_path


class TestCub(BenchmarkMixin):
    name = "cub"
    class_names = [ALBATROSS, AUKLET]
    published = {"train": 5994, "validation": 1000, "test": 5794}
    marker = "images.txt"
    damaged = ("train", PATHS[4])
    expected = {
        "train": [
            Row(PATHS[0], ALBATROSS, [[3, 2, 8, 9]], mask=MASK),
            Row(PATHS[2], AUKLET, [[3, 2, 8, 9]], mask=MASK),
            Row(PATHS[4], AUKLET, [[3, 2, 8, 9]], mask=MASK),
        ],
        "validation": [
            Row(f"{ALBATROSS}/30107316117.jpg", ALBATROSS, [[1, 2, 13, 14]], (30, 20)),
            Row(f"{AUKLET}/8.jpg", AUKLET, [[1, 2, 13, 14]], (30, 20)),
        ],
        "test": [
            Row(PATHS[1], ALBATROSS, [[3, 2, 8, 9]], mask=MASK),
            Row(PATHS[3], AUKLET, [[15.5, 2, 25.5, 11]], mask=MASK),  # leaves its image of 20×10 pixels
        ],
    }


def load(folder, split="train", **options):
    return load_wsol_dataset("cub", folder, split, allow_partial=True, **options)


def refuses(folder, message, split="train", **options):
    with pytest.raises(DatasetError, match=message):
        load(folder, split, **options)


@pytest.mark.parametrize("place", ["segmentations", "CUB_200_2011/segmentations"])
@pytest.mark.parametrize("data_dir", [".", "CUB_200_2011"])
def test_folders(benchmark, place, data_dir):
    (benchmark / "segmentations").rename(benchmark / place)
    table = load(benchmark / data_dir)
    assert table["image_id"][:] == [PATHS[0], PATHS[2], PATHS[4]]
    assert (np.asarray(table[0]["mask"]) == MASK).all()


def test_validation_of_the_inner_folder(benchmark):
    for name in ("metadata", "CUBV2"):
        (benchmark / name).rename(benchmark / "CUB_200_2011" / name)
    for data_dir in (benchmark, benchmark / "CUB_200_2011"):
        assert len(load(data_dir, "validation")) == 2


def test_without_segmentations(benchmark):
    shutil.rmtree(benchmark / "segmentations")
    assert "mask" not in load(benchmark).column_names


@pytest.mark.parametrize("absent", ["metadata", "CUBV2"])
def test_without_version_2(benchmark, absent):
    shutil.rmtree(benchmark / absent)
    with pytest.raises(MissingSplitError, match="cub has no validation split here"):
        load(benchmark, "validation")
    assert set(load(benchmark, None)) == {"train", "test"}


def test_lists_of_version_2_that_are_absent(benchmark):
    (benchmark / "metadata/CUB/val").rename(benchmark / "metadata/CUB/train")
    (benchmark / "metadata/CUB/val").mkdir()
    refuses(benchmark, "CUB/val has no image_ids.txt, but nothing", "validation")


def test_missing_mask(benchmark):
    (benchmark / f"segmentations/{ALBATROSS}/a.png").unlink()
    refuses(benchmark, f"{ALBATROSS}/a.jpg: its mask cannot be used .a.png does not exist")


def test_mask_of_another_shape(benchmark, write_image):
    write_image(benchmark / f"segmentations/{ALBATROSS}/a.png", 10, 20)
    refuses(benchmark, "a.jpg: its mask cannot be used .a.png has 10×20 pixels, its image 20×10")


@pytest.mark.parametrize(
    "file", ["images.txt", "image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt", "classes.txt"]
)
def test_each_list_is_needed_and_read(benchmark, file):
    path = benchmark / "CUB_200_2011" / file
    lines = path.read_text()
    path.write_text(lines + lines.splitlines()[0] + "\n")
    refuses(benchmark, rf"{file} names the same thing twice:\n  - 1\n")
    path.write_text(lines + "6 \n")
    refuses(benchmark, rf"{file} has unreadable lines(.|\n)*line \d: '6 ' \(\d columns were expected\)")
    path.write_bytes(b"\xff\xfe\xfd")
    refuses(benchmark, f"{file} cannot be read as a text file")
    path.unlink()
    refuses(benchmark, f"cub has {file} in its folder")


@pytest.mark.parametrize("file", ["image_class_labels.txt", "train_test_split.txt", "bounding_boxes.txt"])
def test_other_line_count(benchmark, file):
    path = benchmark / "CUB_200_2011" / file
    *lines, last = path.read_text().splitlines()
    write_lines(path, *lines)
    refuses(benchmark, rf"{file} has 4 entries and images.txt 5; it lacks:\n  - 5\n")
    write_lines(path, *lines, last, f"6{last[1:]}")
    refuses(benchmark, rf"{file} has 6 entries and images.txt 5, which lacks:\n  - 6\n")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("image_class_labels.txt", "5 4", r"classes that classes.txt lacks:\n  - 4\n"),
        ("image_class_labels.txt", "5 1.5", r"line 5: '5 1.5' \('1.5' is not a whole number\)"),
        ("train_test_split.txt", "5 yes", "line 5: '5 yes'"),
        ("train_test_split.txt", "5 2", "train_test_split.txt"),
        ("bounding_boxes.txt", "5 1.0 2.0 3.0", r"line 5: .* \(5 columns were expected\)"),
        ("bounding_boxes.txt", "5 1.0 2.0 nan 3.0", "c.jpg: box .* is not made of finite numbers"),
        ("bounding_boxes.txt", "5 1.0 2.0 0.0 3.0", "c.jpg: box .* has no area"),
        ("bounding_boxes.txt", "5 30.0 2.0 5.0 3.0", "c.jpg: box .* has no area inside its image of 20×10"),
        ("images.txt", "5 ../../../secret.jpg", r"images.txt names files outside .*:\n  - ../../../secret.jpg\n"),
        ("images.txt", f"5 {PATHS[0]}", PATHS[0]),
        ("images.txt", "5 /etc/passwd", "names files outside"),
        ("images.txt", "5 C:\\secret.jpg", "names files outside"),
        ("images.txt", "5 ..\\secret.jpg", "names files outside"),
    ],
)
def test_impossible_lines(benchmark, write_image, file, line, message):
    write_image(benchmark.parent / "secret.jpg")
    path = benchmark / "CUB_200_2011" / file
    write_lines(path, *path.read_text().splitlines()[:4], line)
    refuses(benchmark, message)


def test_lists_of_windows(benchmark):
    for file in (benchmark / "CUB_200_2011").glob("*.txt"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n").replace(b"/", b"\\"))
    table = load(benchmark)
    assert table["image_id"][:] == [PATHS[0], PATHS[2], PATHS[4]]
    assert table[0]["image"].size == (20, 10) and table[0]["mask"] is not None


def test_metadata_dir(benchmark):
    table = load(benchmark, "validation", metadata_dir="metadata/CUB")
    assert table.features["label"].names == [ALBATROSS, AUKLET]
    assert load(benchmark, None, metadata_dir=str(benchmark / "metadata/CUB")).keys() == {"validation"}
    refuses(benchmark, "metadata/CUB/val has no train/image_ids.txt", metadata_dir="metadata/CUB/val")
    refuses(benchmark, "but no such folder", metadata_dir="elsewhere")
