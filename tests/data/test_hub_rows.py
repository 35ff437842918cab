"""Rows of Parquet files and streams: one conversion of images everywhere, and broken rows named or left out."""

import io
import logging
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import ClassLabel, List, Value
from PIL import Image
from torch.utils.data import DataLoader

from modeling_sat import SATImageProcessor
from modeling_sat.data import DatasetError, load_wsol_dataset
from modeling_sat.data.hub import read_hub
from modeling_sat.data.preparation import PreparationSettings, prepare_dataset
from modeling_sat.data.schema import UprightImage
from modeling_sat.data.views import TrainingView
from modeling_sat.evaluation import View
from modeling_sat.inference.evaluation_loop import EvaluationBatches
from modeling_sat.models.image_conversion_sat import decode_image


@pytest.fixture(autouse=True)
def no_pause_after_a_stream(monkeypatch):
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0.01)


CLASSES = ClassLabel(names=["cat", "dog"])
BOXES = List(List(Value("float32"), length=4))
SIDE = 16


def encoded(image: Image.Image, file_format: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def ramp(dtype, top) -> np.ndarray:
    return np.linspace(0, top, SIDE * SIDE).reshape(SIDE, SIDE).astype(dtype)


def colours() -> Image.Image:
    grey = ramp(np.uint8, 255)
    return Image.fromarray(np.stack([grey, grey.T, 255 - grey], axis=-1))


def with_alpha(mode: str) -> Image.Image:
    image = colours().convert(mode)
    image.putalpha(Image.fromarray(ramp(np.uint8, 255)))
    return image


def turned(file_format: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(colours().resize((SIDE, SIDE // 2)), file_format, exif=exif)


MODES = {
    "1": encoded(colours().convert("1")),
    "L": encoded(colours().convert("L")),
    "LA": encoded(with_alpha("L")),
    "P": encoded(colours().convert("P")),
    "P, a transparent entry": encoded(colours().convert("P"), transparency=3),
    "RGB": encoded(colours()),
    "RGB, a transparent colour": encoded(colours(), transparency=(0, 0, 255)),
    "RGBA": encoded(with_alpha("RGB")),
    "I;16": encoded(Image.fromarray(ramp(np.uint16, 65535))),
    "I;16B": encoded(Image.fromarray(ramp(np.uint16, 65535).astype(">u2")), "TIFF"),
    "I": encoded(Image.fromarray(ramp(np.int32, 60000)), "TIFF"),
    "F": encoded(Image.fromarray(ramp(np.float32, 1)), "TIFF"),
    "CMYK": encoded(colours().convert("CMYK"), "JPEG", quality=95),
    "CMYK TIFF": encoded(colours().convert("CMYK"), "TIFF"),
    "YCbCr": encoded(colours().convert("YCbCr"), "JPEG", quality=95),
    "grey JPEG": encoded(colours().convert("L"), "JPEG", quality=95),
    "WebP with alpha": encoded(with_alpha("RGB"), "WEBP", lossless=True),
    "GIF": encoded(colours().convert("P"), "GIF", transparency=0),
    "turned": turned(),
}


def parquet(save, contents, **options):
    rows = [
        {"image": {"bytes": content, "path": f"{index}.img"}, "label": index % 2}
        for index, content in enumerate(contents)
    ]
    return load_wsol_dataset(save({"label": CLASSES}, train=rows), split="train", **options)


def pixels(images) -> list[np.ndarray]:
    return [np.asarray(image) for image in images]


def assert_equal(found, expected):
    for mode, one, other in zip(MODES, found, expected, strict=True):
        assert np.array_equal(one, other), mode


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_boxes_of_a_turned_image_are_held_against_its_upright_size(save, file_format):
    rows = [
        {"image": {"bytes": turned(file_format), "path": f"{label}.img"}, "label": label, "boxes": [[1, 10, 7, 15]]}
        for label in (0, 1)
    ]
    table = load_wsol_dataset(save({"label": CLASSES, "boxes": BOXES}, train=rows), split="train")
    assert table[0]["image"].size == (SIDE // 2, SIDE)
    assert table["boxes"][:] == [[[1, 10, 7, 15]]] * 2


@pytest.fixture
def expected():
    return pixels(decode_image(content) for content in MODES.values())


def test_rows_show_every_mode_as_it_is_seen(save, expected):
    table = parquet(save, MODES.values())
    assert_equal(pixels(table["image"]), expected)
    assert {image.mode for image in table["image"]} == {"RGB"}


def test_streamed_rows_too(save, expected):
    assert_equal(pixels(row["image"] for row in parquet(save, MODES.values(), streaming=True)), expected)


def test_skipping_changes_no_pixel(save, expected):
    assert_equal(pixels(parquet(save, MODES.values(), on_bad_image="skip")["image"]), expected)


def test_chosen_and_saved_rows_too(save, expected, tmp_path):
    table = parquet(save, MODES.values())
    again = table.select(range(len(table))).filter(lambda label: label < 2, input_columns="label")
    assert_equal(pixels(again["image"]), expected)
    again.to_parquet(tmp_path / "again/train.parquet")
    assert datasets.load_dataset("parquet", data_files=str(tmp_path / "again/train.parquet"), split="train").features[
        "image"
    ] == datasets.Image(mode="RGB")
    loaded = load_wsol_dataset(str(tmp_path / "again"), split="train")
    assert_equal(pixels(loaded["image"]), expected)


def test_training_and_evaluation_see_the_same_pixels(save, expected):
    table = parquet(save, MODES.values())
    view = TrainingView((SIDE, SIDE), (SIDE, SIDE), horizontal_flip=0)
    processor = SATImageProcessor(
        size={"height": SIDE, "width": SIDE}, image_mean=[0, 0, 0], image_std=[1, 1, 1], rescale_factor=1.0
    )
    seen = view.of(table)
    evaluated, *_ = EvaluationBatches(processor, View((SIDE, SIDE), None))(list(table))
    squashed = [
        np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for image in expected
    ]
    assert_equal([seen[0, index]["pixel_values"].numpy().transpose(1, 2, 0) for index in range(len(table))], squashed)
    assert_equal(evaluated.round().byte().numpy().transpose(0, 2, 3, 1), squashed)


def test_training_on_a_stream_sees_them_too(save, expected):
    stream = parquet(save, MODES.values(), streaming=True)
    view = TrainingView((SIDE, SIDE), (SIDE, SIDE), horizontal_flip=0)
    rows = iter(view.of(stream))
    seen = {next(rows)["pixel_values"].numpy().tobytes() for _ in MODES}
    squashed = [Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in expected]
    assert seen == {np.asarray(image).transpose(2, 0, 1).tobytes() for image in squashed}


@pytest.mark.parametrize("resize_shorter", [None, SIDE])
def test_prepared_shards_of_a_folder_too(tmp_path, expected, resize_shorter):
    for index, content in enumerate(MODES.values()):
        file = tmp_path / f"in/{'cat' if index % 2 else 'dog'}/{index:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    settings = {"resize_shorter": resize_shorter, "data_dir": str(tmp_path / "in")}
    prepare_dataset(PreparationSettings("folder", str(tmp_path / "out"), **settings))
    tables = [
        load_wsol_dataset(str(tmp_path / "out"), split="train"),
        load_wsol_dataset("folder", tmp_path / "in", "train"),
    ]
    for table in tables:
        by_number = dict(sorted((row["image_id"][-6:], np.asarray(row["image"])) for row in table))
        assert_equal(by_number.values(), expected)


def test_tables_that_are_kept_on_disk_too(tmp_path, monkeypatch):
    monkeypatch.setattr("modeling_sat.data.loading.MIN_ROWS", 0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(MODES["I;16"])
    for _ in range(2):
        table = load_wsol_dataset("folder", tmp_path, "train")
        assert isinstance(table.features["image"], UprightImage)


GOOD = encoded(colours())
BROKEN = {
    "no image at all": {"image": None},
    "an image without content": {"image": {"bytes": None, "path": None}},
    "bytes that are no image": {"image": {"bytes": b"no image", "path": "x.jpg"}},
    "no bytes": {"image": {"bytes": b"", "path": None}},
    "a truncated PNG": {"image": {"bytes": GOOD[:-40], "path": None}},
    "a truncated JPEG": {"image": {"bytes": encoded(colours(), "JPEG")[:-200], "path": None}},
    "HTML": {"image": {"bytes": b"<html>404</html>", "path": None}},
    "a file that is gone": {"image": {"bytes": None, "path": "/no/such/file.png"}},
    "no label": {"label": None},
    "label -1": {"label": -1},
    "label beyond the classes": {"label": 2},
    "label -7": {"label": -7},
    "a box of no area": {"boxes": [[4, 4, 4, 9]]},
    "a box the other way round": {"boxes": [[9, 9, 2, 2]]},
    "a box outside": {"boxes": [[40, 40, 50, 50]]},
    "a box that is not finite": {"boxes": [[0, 0, float("nan"), 4]]},
    "an infinite box": {"boxes": [[0, 0, float("inf"), 4]]},
    "three numbers": {"boxes": [[0, 0, 4]]},
}
KEPT_UNTIL_READ = ("bytes that", "no bytes", "a truncated", "HTML", "a file")


def broken(save, kind, boxes=None):
    boxes = [[2, 3, 14, 15]] if boxes is None else boxes
    rows = [{"image": {"bytes": GOOD, "path": None}, "label": label, "boxes": boxes} for label in (0, 1, 0, 1, 0, 1)]
    rows[3] |= BROKEN[kind]
    folder = save({"label": CLASSES, "boxes": List(List(Value("float32")))}, train=rows[:1], test=rows[:1])
    for file in Path(folder).glob("data/*"):  # as other writers do, which check nothing
        pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(file)), file)
    return folder


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_row_is_named(save, kind):
    with pytest.raises(DatasetError, match=r"train, row 3|Row 3 of the train split") as raised:
        list(load_wsol_dataset(broken(save, kind), split="train"))
    assert "on_bad_image" in str(raised.value)


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_broken_row_is_left_out(save, kind, streaming, caplog):
    options = {"streaming": True} if streaming else {}
    with caplog.at_level(logging.WARNING):
        table = load_wsol_dataset(broken(save, kind), split="test", on_bad_image="skip", **options)
        rows = list(table)
    assert [row["image_id"][-1] for row in rows] == list("01245")
    assert all(row["image"].size == (SIDE, SIDE) for row in rows)
    assert "test, row 3" in caplog.text


@pytest.mark.parametrize("kind", [kind for kind in BROKEN if kind.startswith(KEPT_UNTIL_READ)])
def test_a_row_that_is_met_on_the_way_is_named(save, kind):
    table = load_wsol_dataset(broken(save, kind, boxes=[]), split="train")
    images = TrainingView((8, 8), (8, 8)).of(table.select([5, 3]))
    for read in (lambda: table[3], lambda: images[0, 1]):
        with pytest.raises(DatasetError) as raised:
            read()
        sentence = str(raised.value)
        assert sentence.startswith("/no/such/file.png" if "gone" in kind else "Row 3 of the train split")
        assert 'pass on_bad_image="skip" to leave it out.' in sentence and "\n" not in sentence


def test_a_worker_process_hands_on_the_sentence_alone(save):
    table = load_wsol_dataset(broken(save, "HTML", boxes=[]), split="train")
    with pytest.raises(DatasetError) as raised:
        list(DataLoader(table, num_workers=1, collate_fn=list))
    assert str(raised.value).startswith("Row 3 of the train split") and "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_row_of_a_stream_is_named(save, kind):
    stream = load_wsol_dataset(broken(save, kind), split="train", streaming=True)
    with pytest.raises(DatasetError, match=r"train, row 3|Row 3 of the train split"):
        list(stream)


def test_training_and_evaluation_leave_out_the_same(save):
    folder = broken(save, "a truncated PNG")
    tables = load_wsol_dataset(folder, on_bad_image="skip")
    assert len(tables["train"]) == len(tables["test"]) == 5
    images = TrainingView((8, 8), (8, 8)).of(tables["train"])
    assert len([images[0, index] for index in range(len(images))]) == 5


def test_a_split_without_labels_stays_refused_when_skipping(save):
    rows = [{"image": {"bytes": GOOD, "path": None}, "label": -1}] * 3
    folder = save({"label": CLASSES}, test=rows)
    with pytest.raises(DatasetError, match="3 of 3 images of the test split have no label"):
        load_wsol_dataset(folder, split="test", on_bad_image="skip")


def test_looks_are_kept(save, monkeypatch, tmp_path):
    monkeypatch.setattr("modeling_sat.data.hub_pictures.MIN_ROWS", 0)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = broken(save, "a truncated PNG")
    assert len(load_wsol_dataset(folder, split="train", on_bad_image="skip")) == 5
    monkeypatch.setattr("modeling_sat.data.hub_pictures.look_at", lambda *args, **options: pytest.fail("looked again"))
    assert len(load_wsol_dataset(folder, split="train", on_bad_image="skip")) == 5


class TestStreamsInPasses:
    COUNT = 12

    @pytest.fixture
    def stream(self, save, monkeypatch):
        monkeypatch.setattr(TrainingView, "SHUFFLE_BUFFER", 6)
        rows = [
            {"image": Image.new("RGB", (8, 8), (10 * index, 0, 0)), "label": index % 2} for index in range(self.COUNT)
        ]
        folder = Path(save({"label": CLASSES}, train=rows[:6]))
        table = datasets.Dataset.from_list(rows, features=datasets.Features(image=datasets.Image(), label=CLASSES))
        for shard in range(2):
            file = folder / f"data/train-0000{shard}-of-00002.parquet"
            table.shard(2, shard, contiguous=True).to_parquet(file)
        (folder / "data/train-00000-of-00001.parquet").unlink()
        return read_hub(str(folder), streaming=True).splits["train"]()

    def values(self, stream, count, seed=0):
        rows = iter(TrainingView((8, 8), (8, 8), seed=seed).of(stream))
        return [int(next(rows)["pixel_values"][0, 0, 0]) for _ in range(count)]

    def test_each_pass_has_an_order_of_its_own(self, stream):
        seen = self.values(stream, 4 * self.COUNT)
        passes = [tuple(seen[start : start + self.COUNT]) for start in range(0, len(seen), self.COUNT)]
        assert all(sorted(one) == [10 * index for index in range(self.COUNT)] for one in passes)
        assert len(set(passes)) == 4

    def test_the_order_is_that_of_the_seed(self, stream):
        assert self.values(stream, 30) == self.values(stream, 30)
        assert self.values(stream, 30) != self.values(stream, 30, seed=1)

    def test_crops_differ_between_passes(self, stream):
        view = TrainingView((12, 12), (8, 8), horizontal_flip=0.5)
        drawn = []
        view.augment = lambda image, random: drawn.append(random.random()) or image
        rows = iter(view.of(stream))
        [next(rows) for _ in range(3 * self.COUNT)]
        assert len(set(drawn)) == 3 * self.COUNT

    def test_processes_share_every_pass(self, stream):
        images = TrainingView((8, 8), (8, 8)).of(stream)
        shares = [iter(images.share_of(rank, 2)) for rank in (0, 1)]
        for _ in range(3):
            seen = [int(next(share)["pixel_values"][0, 0, 0]) for share in shares for _ in range(self.COUNT // 2)]
            assert sorted(seen) == [10 * index for index in range(self.COUNT)]

    @pytest.mark.parametrize("workers", [0, 2, 3])
    def test_worker_processes_share_every_pass(self, stream, workers):
        images = TrainingView((8, 8), (8, 8)).of(stream)
        batches = iter(
            DataLoader(images, batch_size=6, num_workers=workers)
        )  # a worker has no shard where there are 3
        seen = [torch.sort(torch.cat([next(batches)["labels"] for _ in range(2)])).values for _ in range(3)]
        assert all(labels.tolist() == [0] * 6 + [1] * 6 for labels in seen)


def test_a_stream_reads_what_it_looks_at_once(save):
    """Images are held undecoded while the next is drawn."""
    stream = parquet(save, MODES.values(), streaming=True)
    undecoded = stream.cast_column("image", datasets.Image(decode=False))
    assert next(iter(undecoded))["image"]["bytes"] == MODES["1"]
