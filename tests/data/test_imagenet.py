import shutil
from pathlib import Path

import pytest
from benchmark_mixin import BenchmarkMixin, Row, write_lines, write_lists

from modeling_sat.data import DatasetError, MissingSplitError, load_wsol_dataset


TENCH, CRANE, MACHINE = "n01440764", "n02012849", "n03126707"
NAMES = {TENCH: "tench, Tinca tinca", CRANE: f"crane ({CRANE})", MACHINE: f"crane ({MACHINE})"}
VAL = {
    "ILSVRC2012_val_00000001": (MACHINE, [[2, 2, 18, 8]]),
    "ILSVRC2012_val_00000002": (TENCH, [[0, 1, 19, 9], [4, 4, 10, 8]]),
    "ILSVRC2012_val_00000003": (TENCH, [[2, 2, 8, 6]]),
}
SOURCES = ["xml", "kaggle", "sat", "metadata"]
TRAIN_IDS = [f"train/{wnid}/{wnid}_{number}.JPEG" for wnid in NAMES for number in (1, 10)]


def write_xml(file: Path, wnid: str, boxes: list, size: tuple[int, int]) -> None:
    lines = ["<annotation><size><width>{}</width><height>{}</height></size>".format(*size)]
    edges = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    lines += [f"<object><name>{wnid}</name><bndbox>{edges.format(*box)}</bndbox></object>" for box in boxes]
    write_lines(file, *lines, "</annotation>")


def write_source(kind: str, root: Path, content: dict = VAL, size: tuple[int, int] = (20, 10)) -> None:
    """The labels and boxes of val, as `kind` of file."""
    texts = {stem: [" ".join(map(str, box)) for box in boxes] for stem, (_, boxes) in content.items()}
    if kind == "xml":
        for stem, (wnid, boxes) in content.items():
            write_xml(root / f"Annotations/CLS-LOC/val/{stem}.xml", wnid, boxes, size)
    elif kind == "kaggle":
        rows = [f"{stem},{' '.join(f'{wnid} {box}' for box in texts[stem])} " for stem, (wnid, _) in content.items()]
        write_lines(root / "LOC_val_solution.csv", "ImageId,PredictionString", *reversed(rows))
    elif kind == "sat":
        sized = f"JPEG {size[0]} {size[1]} ;"
        rows = [f"{wnid}\\\\{stem}.{sized} {' '.join(texts[stem])}\r" for stem, (wnid, _) in content.items()]
        write_lines(root / "val_gt.txt", *rows)
    else:
        labels = {f"val/{stem}.JPEG": list(NAMES).index(wnid) for stem, (wnid, _) in content.items()}
        boxes = [f"val/{stem}.JPEG,{box.replace(' ', ',')}" for stem in content for box in texts[stem]]
        write_lists(root / "metadata/ILSVRC/test", labels, boxes, size)


@pytest.fixture
def images(tmp_path, write_image):
    """Train, a flat val that nothing describes, and the names of the classes; images of 20×10 pixels."""
    for image_id in [*TRAIN_IDS, *(f"val/{stem}.JPEG" for stem in VAL)]:
        write_image(tmp_path / image_id, format="PNG")
    words = (f"{wnid} {name.split(' (')[0]}" for wnid, name in NAMES.items())
    write_lines(tmp_path / "LOC_synset_mapping.txt", *words)
    return tmp_path


@pytest.fixture
def benchmark(images, write_image):
    """As the archives unpack, with boxes of one training image, and ImageNetV2."""
    write_source("xml", images)
    write_xml(images / f"Annotations/CLS-LOC/train/{TENCH}/{TENCH}_10.xml", TENCH, [[1, 2, 9, 8]], (20, 10))
    version_2 = {"val2/2/0.jpeg": 2, "val2/0/1.jpeg": 0}
    write_lists(images / "metadata/ILSVRC/val", version_2, [f"{path},6,4,30,20" for path in version_2], (60, 40))
    for path in version_2:
        write_image(images / path, 30, 20)
    return images


class TestImageNet(BenchmarkMixin):
    name = "imagenet"
    class_names = list(NAMES.values())
    published = {"train": 1_281_167, "validation": 10_000, "test": 50_000}
    marker = "train/"
    damaged = ("test", "val/ILSVRC2012_val_00000003.JPEG")
    expected = {
        "train": [
            Row(image_id, NAMES[image_id.split("/")[1]], [[1, 2, 9, 8]] if f"{TENCH}_10" in image_id else [])
            for image_id in TRAIN_IDS
        ],
        "validation": [
            Row("val2/2/0.jpeg", NAMES[MACHINE], [[3, 2, 15, 10]], (30, 20)),
            Row("val2/0/1.jpeg", NAMES[TENCH], [[3, 2, 15, 10]], (30, 20)),
        ],
        "test": [Row(f"val/{stem}.JPEG", NAMES[wnid], boxes) for stem, (wnid, boxes) in VAL.items()],
    }

    @pytest.mark.parametrize("by_class", [False, True])
    @pytest.mark.parametrize("kind", SOURCES)
    def test_sources_of_val(self, images, kind, by_class):
        write_source(kind, images)
        if by_class:
            sort_val(images)
        self.requires_rows(self.load(images, "test"), self.expected["test"])

    @pytest.mark.parametrize("data_dir", [".", "ILSVRC"])
    def test_layout_of_kaggle(self, benchmark, data_dir):
        kaggle = benchmark / "kaggle/ILSVRC"
        (kaggle / "Data/CLS-LOC").mkdir(parents=True)
        for name in ("train", "val"):
            (benchmark / name).rename(kaggle / "Data/CLS-LOC" / name)
        (benchmark / "Annotations").rename(kaggle / "Annotations")
        (benchmark / "LOC_synset_mapping.txt").rename(kaggle.parent / data_dir / "LOC_synset_mapping.txt")
        splits = self.load(kaggle.parent / data_dir)
        assert set(splits) == {"train", "test"}
        for split, table in splits.items():
            self.requires_rows(table, self.expected[split])


def sort_val(images):
    for stem, (wnid, _) in VAL.items():
        (images / "val" / wnid).mkdir(exist_ok=True)
        (images / f"val/{stem}.JPEG").rename(images / f"val/{wnid}/{stem}.JPEG")


def load(folder, split="train", **options):
    return load_wsol_dataset("imagenet", folder, split, **{"allow_partial": True, **options})


def refuses(folder, message, split="train", **options):
    with pytest.raises(DatasetError, match=message):
        load(folder, split, **options)


@pytest.mark.parametrize("kind", ["xml", "sat", "metadata"])
def test_boxes_are_scaled_to_resized_images(images, kind):
    write_source(kind, images, size=(40, 5))
    boxes = load(images, "test")["boxes"]
    assert boxes[:] == [[[1, 4, 9, 16]], [[0, 2, 9.5, 18], [2, 8, 5, 16]], [[1, 4, 4, 12]]]


def test_val_that_nothing_describes(images):
    refuses(images, "are not in class folders(.|\n)*has none of Annotations/CLS-LOC/val/.*Add one of them", "test")
    sort_val(images)
    assert load(images, "test")["label"][:] == [2, 0, 0]
    assert load(images, "test")["boxes"][:] == [[], [], []]


def test_without_names(images):
    (images / "LOC_synset_mapping.txt").unlink()
    assert load(images).features["label"].names == list(NAMES)
    shutil.rmtree(images / "train")
    write_source("sat", images)
    refuses(images, "The classes of imagenet are not known", "test")
    with pytest.raises(MissingSplitError, match="imagenet has no train split here, only test"):
        sort_val(images)
        load(images)


def test_boxes_of_train_from_the_csv_file(images):
    rows = (f"{TENCH}_1,{TENCH} 1 2 9 8 {TENCH} 2 2 3 3 ", f"{MACHINE}_10,{MACHINE} 4 4 8 8 ")
    write_lines(images / "LOC_train_solution.csv", "ImageId,PredictionString", *rows)
    assert load(images)["boxes"][:] == [[[1, 2, 9, 8], [2, 2, 3, 3]], [], [], [], [], [[4, 4, 8, 8]]]
    assert load(images, train_boxes=False)["boxes"][:] == [[]] * 6


def test_missing_classes(images):
    shutil.rmtree(images / "train" / CRANE)
    refuses(images, rf"train lacks classes:\n  - {CRANE} crane\nUnpack their archives", allow_partial=False)
    assert load(images).features["label"].names == [NAMES[TENCH], "crane"]


@pytest.mark.parametrize("kind", SOURCES)
def test_val_of_missing_classes(images, kind, caplog):
    write_source(kind, images, VAL | {"ILSVRC2012_val_00000003": (CRANE, [[2, 2, 8, 6]])})
    shutil.rmtree(images / "train" / CRANE)
    table = load(images, "test")
    assert [table.features["label"].names[label] for label in table["label"]] == ["crane", NAMES[TENCH]]
    assert "Left out 1 images of val, of classes that train lacks" in caplog.text


def test_version_2_of_missing_classes(benchmark):
    shutil.rmtree(benchmark / "train" / CRANE)
    table = load(benchmark, "validation")
    assert [table.features["label"].names[label] for label in table["label"]] == ["crane", NAMES[TENCH]]


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("class_labels.txt", "val2/0/1.jpeg,3", "class_labels.txt"),
        ("image_ids.txt", "val2/0/2.jpeg", r"it lacks:\n  - val2/0/2.jpeg\n"),
        ("localization.txt", "val2/0/2.jpeg,1,2,3,4", "localization.txt has 2 entries"),
        ("image_sizes.txt", "val2/0/2.jpeg,1,2", "image_sizes.txt has 2 entries"),
    ],
)
def test_impossible_lists_of_version_2(benchmark, file, line, message):
    path = benchmark / "metadata/ILSVRC/val" / file
    write_lines(path, path.read_text().splitlines()[0], line)
    refuses(benchmark, message, "validation")


def test_path_that_leads_out_is_not_read(benchmark, write_image):
    write_image(benchmark / "secret.jpeg", 30, 20)
    for file in (benchmark / "metadata/ILSVRC/val").iterdir():
        file.write_text(file.read_text().replace("val2/0/1.jpeg", "val2/../secret.jpeg"))
    refuses(benchmark, "names files outside", "validation")


@pytest.mark.parametrize("absent", ["val2", "metadata/ILSVRC/val"])
def test_without_version_2(benchmark, absent):
    shutil.rmtree(benchmark / absent)
    with pytest.raises(MissingSplitError, match="no validation split here, only train, test"):
        load(benchmark, "validation")


def test_metadata_dir(images):
    write_source("metadata", images)
    write_lists(images / "metadata/ILSVRC/train", {image_id: i // 2 for i, image_id in enumerate(TRAIN_IDS)})
    splits = load(images, None, metadata_dir="metadata/ILSVRC")
    assert splits["train"]["image_id"][:] == TRAIN_IDS
    assert splits["test"].features["label"].names == list(NAMES.values())
    assert splits["test"]["boxes"][:] == [boxes for _, boxes in VAL.values()]


def test_names_that_come_later(images):
    words = (images / "LOC_synset_mapping.txt").rename(images / "elsewhere.txt")
    load(images)
    words.rename(images / "LOC_synset_mapping.txt")
    assert load(images).features["label"].names == list(NAMES.values())


@pytest.mark.parametrize("split", ["train", "test"])
def test_files_that_are_no_images(images, split, caplog):
    sort_val(images)
    folder = images / ("train" if split == "train" else "val")
    for name in ("notes.txt", ".DS_Store", "._a.JPEG", "Thumbs.db"):
        (folder / TENCH / name).touch()
    assert len(load(images, split)) == {"train": 6, "test": 3}[split]
    assert f"{folder} holds 2 files that are not images:" in caplog.text and f"{TENCH}/notes.txt" in caplog.text


def test_doubled_names(images, write_image):
    write_image(images / f"train/{TENCH}/{TENCH}_1.png")
    refuses(images, f"train/{TENCH}/{TENCH}_1.png: there is another image of this name with another suffix")
    assert load(images, on_bad_image="skip")["image_id"][:] == TRAIN_IDS


@pytest.mark.parametrize("copy", [f"{CRANE}/ILSVRC2012_val_00000002.JPEG", f"{TENCH}/ILSVRC2012_val_00000002.png"])
def test_doubled_names_of_val(images, write_image, copy):
    sort_val(images)
    write_image(images / "val" / copy)
    refuses(images, "ILSVRC2012_val_00000002", "test")


def test_empty_class_folder(images):
    for file in (images / "train" / CRANE).iterdir():
        file.unlink()
    refuses(images, f"train/{CRANE}: the folder holds no images")
    left = load(images, on_bad_image="skip")["image_id"][:]
    assert left and not any(CRANE in image_id for image_id in left)


def test_folder_that_is_no_class(images):
    (images / "train/n99999999").mkdir()
    refuses(images, "folders that are not classes of LOC_synset_mapping.txt:\n  - n99999999")


def test_train_boxes_on_resized_images(benchmark, write_image):
    before = load(benchmark)
    row = next(i for i, boxes in enumerate(before["boxes"]) if boxes)
    path = benchmark / before["image_id"][row]
    width, height = before[row]["image"].size
    write_image(path, 2 * width, 2 * height)
    write_image(path.parent / "new.JPEG")  # so that the folder is listed again
    assert load(benchmark)["boxes"][row + (path.name > "new.JPEG")] == [[2 * edge for edge in before["boxes"][row][0]]]


def test_folder_and_annotation_disagree(images):
    sort_val(images)
    write_source("xml", images, VAL | {"ILSVRC2012_val_00000002": (CRANE, [[2, 2, 8, 6]])})
    sentence = f"val/ILSVRC2012_val_00000002.JPEG: it lies in the folder {TENCH}, but .*CLS-LOC/val says {CRANE}"
    refuses(images, sentence, "test")
    assert load(images, "test", on_bad_image="skip")["label"][:] == [2, 0]


def test_image_of_val_whose_class_is_not_known(images, write_image):
    write_image(images / "val/ILSVRC2012_val_00000004.JPEG")
    write_source("sat", images)
    refuses(images, "val/ILSVRC2012_val_00000004.JPEG: val_gt.txt does not name it, so its class is not known", "test")
    (images / "val_gt.txt").unlink()
    sort_val(images)
    refuses(images, "val/ILSVRC2012_val_00000004.JPEG: ", "test")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("LOC_val_solution.csv", f"x,{TENCH} 1 2 3", r"line 1: .* \(a WordNet id and four numbers were expected"),
        ("LOC_val_solution.csv", f"x,{TENCH} 1 2 3 4 {CRANE} 1 2 3 4", "all of one class"),
        ("val_gt.txt", "n1\\\\x.JPEG 20 10 ; 1 2 3 4", r"classes that train lacks:\n  - val/x.JPEG: n1\n"),
        ("val_gt.txt", f"{TENCH}\\\\x.JPEG 20 ; 1 2 3 4", "val_gt.txt has unreadable lines"),
        ("val_gt.txt", f"{TENCH}\\\\x.JPEG 20 10 ; 1 2 3", r"\(four numbers were expected for each box\)"),
        ("val_gt.txt", f"{TENCH}\\\\ILSVRC2012_val_00000001.JPEG 0 0 ; 1 2 3 4", "val_gt.txt|val_00000001"),
        ("Annotations/CLS-LOC/val/x.xml", "<annotation/>", "CLS-LOC/val/x.xml: it has no objects"),
        ("Annotations/CLS-LOC/val/x.xml", "<annotation>", "CLS-LOC/val/x.xml: Pascal VOC objects were expected"),
    ],
)
def test_impossible_annotations_of_val(images, file, line, message):
    write_lines(images / file, line)
    refuses(images, message, "test", allow_partial=False)


@pytest.mark.parametrize("kind", ["csv", "xml"])
def test_train_is_listed_once(benchmark, monkeypatch, write_image, kind):
    if kind == "csv":
        write_lines(benchmark / "LOC_train_solution.csv", f"{TENCH}_10,{TENCH} 1 2 9 8 ")
    first = load(benchmark)
    with monkeypatch.context() as patch:
        patch.setattr("modeling_sat.data.imagenet._list_train", lambda *_: iter(()))
        patch.setattr("modeling_sat.data.imagenet_annotations.read_voc_file", None)
        assert load(benchmark).to_dict() == first.to_dict()
    write_image(benchmark / f"train/{TENCH}/new.JPEG")
    assert f"train/{TENCH}/new.JPEG" in load(benchmark)["image_id"]
    write_lines(benchmark / "LOC_train_solution.csv", f"{TENCH}_10,{TENCH} 4 4 8 8")
    assert load(benchmark)["boxes"][1] == [[4, 4, 8, 8]]
