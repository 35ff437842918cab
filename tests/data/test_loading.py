import pytest

from modeling_sat.data import DatasetError, load_wsol_dataset, loading
from modeling_sat.data.schema import Benchmark, Example, Split, to_dataset


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "shape"}, "no dataset 'shape'. Did you mean 'shapes'. There are cub, imagenet, openimages30k"),
        (
            {"name": "shapes", "split": "tets"},
            "no split 'tets'. Did you mean 'test'. There are train, validation, test",
        ),
        ({"name": "shapes", "num_clases": 3}, "no option 'num_clases'. Did you mean 'num_classes'"),
        ({"name": "shapes", "validation_fraction": 1.5}, "validation_fraction is 1.5"),
        ({"name": "shapes", "on_bad_image": "ignore"}, "on_bad_image is 'ignore'"),
        ({"name": "folder"}, "pass data_dir"),
        ({"name": "folder", "data_dir": "/no/such/folder"}, "/no/such/folder does not exist; / holds"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(DatasetError, match=message):
        load_wsol_dataset(**arguments)


def test_data_dir_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="is a file"):
        load_wsol_dataset("folder", tmp_path / "file")


def test_train_is_whole_by_default_and_split_on_request(class_folders):
    assert set(load_wsol_dataset("folder", class_folders)) == {"train", "test"}
    assert len(load_wsol_dataset("folder", class_folders, "train")) == 6

    splits = load_wsol_dataset("folder", class_folders, validation_fraction=0.3)
    assert list(splits) == ["train", "validation", "test"]
    assert {name: len(table) for name, table in splits.items()} == {"train": 4, "validation": 2, "test": 2}
    assert sorted(splits["validation"]["label"]) == [0, 1]
    for name, table in splits.items():
        alone = load_wsol_dataset("folder", class_folders, name, validation_fraction=0.3)
        assert alone["image_id"][:] == table["image_id"][:]


def test_validation_of_a_benchmark_without_one(class_folders):
    with pytest.raises(DatasetError, match=r"no validation split here, only train, test\. Pass validation_fraction"):
        load_wsol_dataset("folder", class_folders, "validation")


def test_validation_where_no_class_has_two_images(tmp_path, write_image):
    for name in "ab":
        write_image(tmp_path / name / "0.png")
    with pytest.raises(DatasetError, match="No class of folder has two training images"):
        load_wsol_dataset("folder", tmp_path, validation_fraction=0.5)


def test_validation_fraction_leaves_an_official_validation_split_alone():
    splits = load_wsol_dataset(
        "shapes", split=["train", "validation"], validation_fraction=0.5, num_train=20, num_validation=4
    )
    assert {name: len(table) for name, table in splits.items()} == {"train": 20, "validation": 4}


@pytest.fixture
def fake(class_folders, monkeypatch):
    """Puts a benchmark of the six training images into `READERS`, and takes what else it is to say."""
    examples = [
        Example(file, file.relative_to(class_folders).as_posix(), label)
        for label, name in enumerate(("cat", "dog"))
        for file in sorted((class_folders / "train" / name).iterdir())
    ]

    def put(split=None, **fields):
        def read(data_dir):
            return Benchmark(["cat", "dog"], {"train": split or (lambda: Split(examples))}, **fields)

        monkeypatch.setitem(loading.READERS, "fake", read)
        return examples

    return put


@pytest.mark.parametrize("published", [5, 7, 1200])
def test_number_of_images_is_the_published_one(fake, published):
    fake(published_counts={"train": 6})
    assert len(load_wsol_dataset("fake", split="train")) == 6
    fake(published_counts={"train": published})
    message = (
        f"The train split of fake has 6 images here; the published one has {published:,}. .*pass allow_partial=True"
    )
    with pytest.raises(DatasetError, match=message):
        load_wsol_dataset("fake")
    assert len(load_wsol_dataset("fake", split="train", allow_partial=True)) == 6


def test_allow_partial_leaves_out_missing_images_only(fake, caplog):
    examples = fake(published_counts={"train": 6})
    examples[1].image.unlink()
    with pytest.raises(DatasetError, match=r"cat/1.png: the file does not exist"):
        load_wsol_dataset("fake")
    assert len(load_wsol_dataset("fake", split="train", on_bad_image="skip")) == 5

    caplog.clear()
    assert len(load_wsol_dataset("fake", split="train", allow_partial=True)) == 5
    assert "1 image of the train split: these files are missing:\n  - train/cat/1.png" in caplog.text
    examples[4].image.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"has 1 bad image:\n  - train/dog/1.png"):
        load_wsol_dataset("fake", allow_partial=True)


def test_left_out_images_count_as_found(fake):
    examples = fake()
    fake(lambda: Split(examples[1:], ["train/cat/0.png: its annotation is missing"]), published_counts={"train": 6})
    assert len(load_wsol_dataset("fake", split="train", on_bad_image="skip")) == 5


class Listing:
    """A split whose examples are an iterator; it counts how often they were listed."""

    def __init__(self, examples, problems=(), state="state"):
        self.examples, self.problems, self.state, self.times = examples, problems, state, 0

    def __call__(self):
        problems = []
        return Split(self._listed(problems), problems, self.state)

    def _listed(self, problems):
        self.times += 1
        yield from self.examples
        problems += self.problems


@pytest.fixture
def listing(fake):
    def put(*problems, **fields):
        listing = Listing(fake(), problems)
        fake(listing, **fields)
        return listing

    return put


def test_iterator_is_listed_once(listing):
    listing = listing(published_counts={"train": 6})
    tables = [load_wsol_dataset("fake", split="train") for _ in range(2)]
    assert listing.times == 1
    assert tables[0]["image_id"][:] == tables[1]["image_id"][:] == [example.image_id for example in listing.examples]
    assert tables[1]["label"][:] == [0, 0, 0, 1, 1, 1]
    assert tables[1][0]["image"].size == (20, 10)

    listing.state = "other state"
    load_wsol_dataset("fake", split="train")
    assert listing.times == 2


def test_images_of_an_iterator_are_not_opened(listing):
    listing = listing()
    listing.examples[0].image.write_bytes(b"no image")
    assert len(load_wsol_dataset("fake", split="train")) == 6


def test_problems_of_an_iterator(listing, caplog):
    listing = listing("train/cat/8.png: its annotation is missing")
    for times in (1, 2):
        with pytest.raises(
            DatasetError, match=r"The train split has 1 bad image:\n  - train/cat/8.png: its annotation"
        ):
            load_wsol_dataset("fake")
        assert listing.times == times
    for times in (3, 4):
        caplog.clear()
        assert len(load_wsol_dataset("fake", split="train", on_bad_image="skip")) == 6
        assert listing.times == times
        assert "Left out 1 bad image of the train split" in caplog.text


def test_images_that_an_iterator_left_out_count_as_found(listing):
    listing("train/cat/8.png: its annotation is missing", published_counts={"train": 7})
    assert len(load_wsol_dataset("fake", split="train", on_bad_image="skip")) == 6


def test_iterator_with_another_number_of_images(listing):
    listing(published_counts={"train": 7})
    for _ in range(2):
        with pytest.raises(DatasetError, match="The train split of fake has 6 images here; the published one has 7"):
            load_wsol_dataset("fake")
    assert len(load_wsol_dataset("fake", split="train", allow_partial=True)) == 6


@pytest.mark.parametrize("empty", [list, lambda: iter(())])
def test_split_without_images(fake, empty):
    fake(lambda: Split(empty(), state=None if empty is list else "state"))
    with pytest.raises(DatasetError, match="The train split has no usable image"):
        load_wsol_dataset("fake")


def test_reader_that_gives_a_table(fake):
    table = to_dataset([Example(b"", str(label), label) for label in (0, 1)], ["cat", "dog"])
    fake(lambda: table)
    assert load_wsol_dataset("fake", split="train") is table


def test_image_named_twice(class_folders, monkeypatch):
    example = Example(class_folders / "train/cat/0.png", "a", 0)
    benchmark = Benchmark(["cat", "dog"], {"train": lambda: Split([example, example])})
    monkeypatch.setitem(loading.READERS, "twice", lambda data_dir: benchmark)
    with pytest.raises(DatasetError, match="train split of twice names images twice:\n  - a\n"):
        load_wsol_dataset("twice")


def test_classes_of_one_name():
    with pytest.raises(DatasetError, match="Several classes are called cat"):
        Benchmark(["cat", "cat"], {})
