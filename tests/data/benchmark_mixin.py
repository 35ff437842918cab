"""What every reader of a published benchmark must do. A test class inherits `BenchmarkMixin` and writes a miniature."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import pytest

from modeling_sat.data import READERS, DatasetError, checks, load_wsol_dataset, loading


@dataclass(frozen=True)
class Row:
    """One image of a miniature; `size` is (width, height) as it is to come out."""

    image_id: str
    label: str
    boxes: list[list[float]]
    size: tuple[int, int] = (20, 10)
    mask: np.ndarray | None = None


def write_lines(file: Path, *lines: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))


def write_lists(
    folder: Path, labels: dict[str, int], localization: Sequence[str] = (), size: tuple[int, int] | None = None
) -> None:
    """The list files of wsolevaluation for images of `size` (width, height)."""
    write_lines(folder / "image_ids.txt", *labels)
    write_lines(folder / "class_labels.txt", *(f"{path},{label}" for path, label in labels.items()))
    write_lines(folder / "localization.txt", *localization)
    if size is not None:
        write_lines(folder / "image_sizes.txt", *(f"{path},{size[0]},{size[1]}" for path in labels))


def rectangle(x_min: int, y_min: int, x_max: int, y_max: int, size: tuple[int, int] = (20, 10)) -> np.ndarray:
    """A mask of `size` (width, height) that is 1 in a rectangle."""
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[y_min:y_max, x_min:x_max] = 1
    return mask


class BenchmarkMixin:
    """Subclasses give these, and a fixture `benchmark` that writes the miniature and returns its folder.

    Attributes:
        name: of the dataset.
        class_names: of the miniature, in the order of the labels.
        expected: split → its rows.
        published: split → images of the complete benchmark.
        marker: the file or folder that is missed in a folder of another layout.
        damaged: a split whose images are opened beforehand, and the id of an image of it that is not the only one of
            its class.
    """

    name: str
    class_names: list[str]
    expected: dict[str, list[Row]]
    published: dict[str, int]
    marker: str
    damaged: tuple[str, str]

    @pytest.fixture
    def complete(self, benchmark, monkeypatch):
        """The miniature, taken for the whole benchmark."""
        module = sys.modules[READERS[self.name].__module__]
        counts = {split: len(rows) for split, rows in self.expected.items()}
        monkeypatch.setattr(module, "PUBLISHED_COUNTS", counts)
        return benchmark

    def load(self, folder, split=None, **options):
        return load_wsol_dataset(self.name, folder, split, **{"allow_partial": True, **options})

    def refuses(self, folder, message, split=None, **options):
        with pytest.raises(DatasetError, match=message):
            self.load(folder, split, **options)

    def requires_rows(self, table, rows):
        assert table["image_id"][:] == [row.image_id for row in rows]
        assert [table.features["label"].int2str(label) for label in table["label"]] == [row.label for row in rows]
        assert table["boxes"][:] == [row.boxes for row in rows]
        assert [image.size for image in table["image"]] == [row.size for row in rows]
        assert {image.mode for image in table["image"]} == {"RGB"}
        masks = table["mask"] if "mask" in table.column_names else [None] * len(rows)
        for mask, row in zip(masks, rows, strict=True):
            assert (mask is None) == (row.mask is None)
            assert mask is None or np.array_equal(np.asarray(mask), row.mask)

    def test_what_was_written_is_read(self, benchmark):
        splits = self.load(benchmark)
        assert set(splits) == set(self.expected)
        for split, rows in self.expected.items():
            self.requires_rows(splits[split], rows)

    def test_column_types(self, benchmark):
        for split, table in self.load(benchmark).items():
            features = table.features
            assert isinstance(features["image"], datasets.Image)
            assert features["image_id"] == datasets.Value("string")
            assert features["label"] == datasets.ClassLabel(names=self.class_names)
            assert features["boxes"] == datasets.List(datasets.List(datasets.Value("float32"), length=4))
            has_masks = any(row.mask is not None for row in self.expected[split])
            assert list(features) == ["image", "image_id", "label", "boxes"] + ["mask"] * has_masks
            assert not has_masks or features["mask"] == datasets.Image(mode="L")

    def test_each_split_alone(self, benchmark):
        for split, rows in self.expected.items():
            assert self.load(benchmark, split)["image_id"][:] == [row.image_id for row in rows]

    def test_complete_benchmark(self, complete):
        assert set(self.load(complete, allow_partial=False)) == set(self.expected)

    def test_miniature_is_not_the_published_benchmark(self, benchmark):
        for split, rows in self.expected.items():
            counts = f"{split} split of {self.name} has {len(rows)} images here; .* has {self.published[split]:,}"
            self.refuses(benchmark, counts, split, allow_partial=False)

    def file_of_damaged(self, folder):
        return next(folder.rglob(self.damaged[1]))

    def ids_without_damaged(self):
        split, image_id = self.damaged
        return [row.image_id for row in self.expected[split] if row.image_id != image_id]

    def test_missing_image(self, complete, caplog):
        split, image_id = self.damaged
        self.file_of_damaged(complete).unlink()
        self.refuses(complete, rf"{re.escape(image_id)}: the file does not exist", split, allow_partial=False)
        assert self.load(complete, split)["image_id"][:] == self.ids_without_damaged()
        assert "files are missing" in caplog.text and image_id in caplog.text

    def test_truncated_image(self, complete, caplog):
        split, image_id = self.damaged
        file = self.file_of_damaged(complete)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        for allow_partial in (False, True):
            self.refuses(
                complete, rf"{re.escape(image_id)}: the image cannot be decoded", split, allow_partial=allow_partial
            )
        table = self.load(complete, split, on_bad_image="skip", allow_partial=False)
        assert table["image_id"][:] == self.ids_without_damaged()
        assert f"Left out 1 bad image of the {split} split" in caplog.text

    @pytest.mark.parametrize(("stray", "held"), [(None, "nothing"), ("notes.txt", "notes.txt")])
    def test_folder_of_another_layout(self, tmp_path, stray, held):
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        if stray is not None:
            (folder / stray).touch()
        self.refuses(folder, rf"{re.escape(self.marker)}(.|\n)*holds {held}")

    def test_second_load_opens_no_image(self, benchmark, monkeypatch):
        monkeypatch.setattr(loading, "MIN_ROWS", 1)
        self.load(benchmark)
        monkeypatch.setattr(checks, "_opened", None)
        for split, table in self.load(benchmark).items():
            self.requires_rows(table, self.expected[split])

    def test_cached_split_notices_a_changed_image(self, benchmark, write_image, monkeypatch):
        monkeypatch.setattr(loading, "MIN_ROWS", 1)
        self.load(benchmark)
        self.file_of_damaged(benchmark).write_bytes(b"no image")
        self.refuses(benchmark, "cannot be decoded", self.damaged[0])
