import numpy as np
import pytest
from benchmark_mixin import BenchmarkMixin, Row, write_lines, write_lists

from modeling_sat.data import DatasetError, load_wsol_dataset


LISTS = {
    "train": {"0000001": "Cessna 172", "0000002": "F-16A/B", "0000003": "F-16A/B"},
    "val": {"0000004": "F-16A/B", "0000005": "Cessna 172"},
    "test": {"0000006": "Cessna 172", "0000007": "F-16A/B"},
}


@pytest.fixture
def benchmark(tmp_path, write_image):
    """The archive's `data` with two variants, 40×60 pixels; PNG under the official names."""
    data = tmp_path / "fgvc-aircraft-2013b/data"
    write_lines(data / "variants.txt", "Cessna 172", "F-16A/B")
    for name, rows in LISTS.items():
        write_lines(data / f"images_variant_{name}.txt", *(f"{image} {variant}" for image, variant in rows.items()))
        for image in rows:
            write_image(data / f"images/{image}.jpg", 40, 60, format="PNG")
    write_lines(data / "images_box.txt", *(f"{image} 1 5 40 38" for rows in LISTS.values() for image in rows))
    return tmp_path


def rows_of(name):
    return [Row(f"{image}.jpg", variant, [[1, 5, 40, 38]], (40, 40)) for image, variant in LISTS[name].items()]


class TestFgvcAircraft(BenchmarkMixin):
    name = "fgvc_aircraft"
    class_names = ["Cessna 172", "F-16A/B"]
    published = {"train": 3334, "validation": 3333, "test": 3333}
    marker = "images_box.txt"
    damaged = ("train", "0000003.jpg")
    expected = {"train": rows_of("train"), "validation": rows_of("val"), "test": rows_of("test")}

    def test_train_on_validation(self, benchmark, complete):
        splits = self.load(benchmark, train_on_validation=True)
        assert set(splits) == {"train", "test"}
        self.requires_rows(splits["train"], rows_of("train") + rows_of("val"))
        assert len(self.load(complete, "train", train_on_validation=True, allow_partial=False)) == 5

    def test_miniature_with_validation_is_not_the_published_benchmark(self, benchmark):
        message = "train split of fgvc_aircraft has 5 images here; the published one has 6,667"
        self.refuses(benchmark, message, "train", train_on_validation=True, allow_partial=False)


def load(folder, split="train", **options):
    return load_wsol_dataset("fgvc_aircraft", folder, split, allow_partial=True, **options)


def refuses(folder, message, split="train", **options):
    with pytest.raises(DatasetError, match=message):
        load(folder, split, **options)


@pytest.mark.parametrize("data_dir", [".", "fgvc-aircraft-2013b", "fgvc-aircraft-2013b/data"])
def test_folders(benchmark, data_dir):
    assert load(benchmark / data_dir)["image_id"][0] == "0000001.jpg"


@pytest.mark.parametrize(
    "options", [{}, {"classes": ["Cessna 172", "F-16A/B"]}, {"images_per_class": 1}, {"validation_fraction": 0.5}]
)
def test_banner_is_cut(benchmark, options):
    written = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    for row in load(benchmark, **options):
        assert np.array_equal(np.asarray(row["image"]), written[:40])


def test_banner_is_cut_of_the_listed_images(benchmark):
    data, lists = benchmark / "fgvc-aircraft-2013b/data", benchmark / "lists/train"
    write_lists(lists, {"F-16/0000001.jpg": 0, "F-4/0000002.jpg": 1})
    for path in ("F-16/0000001.jpg", "F-4/0000002.jpg"):
        (data / "images" / path).parent.mkdir()
        (data / "images" / path.split("/")[1]).rename(data / "images" / path)
    table = load(data, metadata_dir=str(benchmark / "lists"))
    assert table[0]["image"].size == (40, 40)


@pytest.mark.parametrize("file", ["variants.txt", "images_variant_train.txt"])
def test_absent_list(benchmark, file):
    (benchmark / "fgvc-aircraft-2013b/data" / file).unlink()
    refuses(benchmark, f"fgvc_aircraft has {file} in its folder, but .* it holds")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        (
            "images_variant_train.txt",
            "0000003 F-16",
            r"images_variant_train.txt has classes that variants.txt lacks:\n",
        ),
        ("images_variant_train.txt", "0000002 F-16A/B", r"names the same thing twice:\n  - 0000002\n"),
        ("images_variant_train.txt", "0000009 F-16A/B", r"images_box.txt has 2 entries and .*lacks:\n  - 0000009\n"),
        ("images_variant_train.txt", "../x F-16A/B", "images_box.txt has 2 entries"),
        ("images_variant_train.txt", "0000003", r"line 3: '0000003' \(2 columns were expected\)"),
    ],
)
def test_impossible_lines(benchmark, file, line, message):
    path = benchmark / "fgvc-aircraft-2013b/data" / file
    write_lines(path, *path.read_text().splitlines()[:2], line)
    refuses(benchmark, message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0000003 1 5 40", r"images_box.txt has unreadable lines(.|\n)*line 8: '0000003 1 5 40' \(5 columns"),
        ("0000003 1 5 40 38", r"images_box.txt names the same thing twice:\n  - 0000003\n"),
        ("../x 1 5 40 38", "names files outside"),
    ],
)
def test_impossible_boxes(benchmark, line, message):
    data = benchmark / "fgvc-aircraft-2013b/data"
    write_lines(data / "images_box.txt", *(data / "images_box.txt").read_text().splitlines(), line)
    write_lines(data / "images_variant_train.txt", "0000001 F-16A/B", "../x Cessna 172")
    refuses(benchmark, message)


def test_path_that_leads_out_is_not_read(benchmark, write_image):
    data = benchmark / "fgvc-aircraft-2013b/data"
    write_image(data / "x.jpg", 40, 60)
    write_lines(data / "images_variant_train.txt", "0000001 F-16A/B", "../x Cessna 172")
    write_lines(data / "images_box.txt", "0000001 1 5 40 38", "../x 1 5 40 38")
    refuses(benchmark, r"names files outside .*:\n  - ../x.jpg\n")


def test_lists_of_windows(benchmark):
    for file in (benchmark / "fgvc-aircraft-2013b/data").glob("*.txt"):
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert load(benchmark).features["label"].names == ["Cessna 172", "F-16A/B"]
