from itertools import pairwise

import datasets
import pytest
from PIL import Image

from modeling_sat.data import DatasetError, load_wsol_dataset, stratified_split
from modeling_sat.data.sampling import few_per_class, with_classes
from modeling_sat.data.schema import Example, png_bytes, to_dataset


IDS = [f"image{number}" for number in range(40)]
LABELS = [0] * 20 + [1] * 17 + [2] * 2 + [3]


def test_takes_the_fraction_of_each_class_and_one_at_least():
    stay, chosen = stratified_split(IDS, LABELS, fraction=0.2)
    assert sorted(stay + chosen) == list(range(40))
    counts = [[LABELS[position] for position in chosen].count(label) for label in range(4)]
    assert counts == [4, 3, 1, 0]  # 0.2 · 20, 0.2 · 17 = 3.4, one of two, none of one


def test_leaves_one_image_of_each_class():
    stay, _ = stratified_split(IDS, LABELS, fraction=0.99)
    assert {LABELS[position] for position in stay} == {0, 1, 2, 3}


def test_choice_depends_on_ids_and_seed_not_on_order():
    def chosen_ids(ids, labels, seed):
        return {ids[position] for position in stratified_split(ids, labels, 0.3, seed)[1]}

    assert chosen_ids(IDS, LABELS, 0) == chosen_ids(IDS[::-1], LABELS[::-1], 0)
    assert chosen_ids(IDS, LABELS, 0) != chosen_ids(IDS, LABELS, 1)


def test_choice_is_the_same_on_every_machine():
    assert stratified_split(IDS[:6], [0] * 6, fraction=0.5, seed=0)[1] == [
        3,
        4,
        5,
    ]  # the three least SHA-256 of "0:image<i>"


NAMES = ["ant", "bee", "cat", "dog"]


@pytest.fixture
def table():
    """The images of `IDS`, each with its own gray, box and mask."""

    def example(number, label):
        gray, mask = (png_bytes(Image.new("L", (20, 10), value)) for value in (number, number % 2))
        return Example(gray, IDS[number], label, [(number, 0, number + 1, 9)] * (number % 3), mask)

    return to_dataset([example(number, label) for number, label in enumerate(LABELS)], NAMES)


def ids_of(table):
    return table["image_id"][:]


def test_few_per_class_keeps_k_of_each_in_the_order_of_the_table(table):
    table = with_classes(table.select(range(37)), ["ant", "bee"], "pets")
    few = few_per_class(table, 5)
    assert few["label"][:] == [0] * 5 + [1] * 5
    assert ids_of(few) == sorted(ids_of(few), key=IDS.index)
    assert few.features == table.features


def test_few_per_class_is_nested(table):
    table = with_classes(table.select(range(37)), ["ant", "bee"], "pets")
    choices = [set(ids_of(few_per_class(table, k))) for k in range(1, 18)]
    assert all(fewer < more for fewer, more in pairwise(choices))
    assert choices[-1] >= set(IDS[20:37])


def test_few_per_class_depends_on_ids_and_seed_not_on_order(table):
    table = with_classes(table.select(range(37)), ["ant", "bee"], "pets")
    shuffled = table.shuffle(seed=1)
    assert set(ids_of(few_per_class(table, 4))) == set(ids_of(few_per_class(shuffled, 4)))
    assert set(ids_of(few_per_class(table, 4))) != set(ids_of(few_per_class(table, 4, seed=1)))


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "images_per_class is 0; a whole number of at least 1 was expected"),
        (-1, "images_per_class is -1; a whole number of at least 1"),
        (2, r"images_per_class is 2, but there are fewer .*:\n  - dog: 1\nLower it"),
        (3, r"images_per_class is 3, but there are fewer .*:\n  - cat: 2\n  - dog: 1\nLower it"),
    ],
)
def test_few_per_class_out_of_range(table, k, message):
    with pytest.raises(DatasetError, match=message):
        few_per_class(table, k)


def test_few_per_class_of_a_class_without_images(table):
    with pytest.raises(DatasetError, match="dog: 0"):
        few_per_class(table.select(range(39)), 1)


@pytest.mark.parametrize("classes", [["bee", "dog"], ["dog", "bee"], ("dog", "bee", "dog")])
def test_classes_are_counted_anew_in_the_order_of_the_benchmark(table, classes):
    kept = with_classes(table, classes, "pets")
    assert kept.features["label"].names == ["bee", "dog"]
    assert kept["label"][:] == [0] * 17 + [1]
    assert kept.column_names == table.column_names
    assert {name: feature for name, feature in kept.features.items() if name != "label"} == {
        name: feature for name, feature in table.features.items() if name != "label"
    }


def test_images_boxes_and_masks_stay_with_their_rows(table):
    whole = {row["image_id"]: row for row in table}
    for row in with_classes(table, ["cat", "bee"], "pets").shuffle(seed=0):
        original = whole[row["image_id"]]
        assert row["boxes"] == original["boxes"]
        assert row["image"].tobytes() == original["image"].tobytes()
        assert row["mask"].tobytes() == original["mask"].tobytes()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["ant", "bees"], "pets has no class 'bees'. Did you mean 'bee'?"),
        (["zebra"], "pets has no class 'zebra'. It has:\n  - ant\n"),
    ],
)
def test_unknown_class(table, classes, message):
    with pytest.raises(DatasetError, match=message):
        with_classes(table, classes, "pets")


@pytest.fixture
def pets(tmp_path, write_image):
    """Three classes with four training images each; there are no test images of the third."""
    for name in ("ant", "bee", "cat"):
        for number in range(4):
            write_image(tmp_path / "train" / name / f"{number}.png")
    for name in ("ant", "bee"):
        write_image(tmp_path / "test" / name / "9.png")
    return tmp_path


def test_options_of_the_loader(pets):
    splits = load_wsol_dataset(
        "folder", pets, classes=["cat", "bee"], images_per_class=2, validation_fraction=0.25, seed=3
    )
    assert isinstance(splits, datasets.DatasetDict)
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 2, "test": 1}
    assert all(split.features["label"].names == ["bee", "cat"] for split in splits.values())
    for row in [row for split in splits.values() for row in split]:
        assert row["image_id"].split("/")[1] == ["bee", "cat"][row["label"]]
    assert set(ids_of(splits["train"])).isdisjoint(ids_of(splits["validation"]))


def test_images_per_class_leave_the_other_splits_alone(pets):
    whole = load_wsol_dataset("folder", pets, validation_fraction=0.25)
    few = load_wsol_dataset("folder", pets, validation_fraction=0.25, images_per_class=1)
    assert len(few["train"]) == 3 and set(ids_of(few["train"])) < set(ids_of(whole["train"]))
    for name in ("validation", "test"):
        assert ids_of(few[name]) == ids_of(whole[name])
    alone = load_wsol_dataset("folder", pets, "train", validation_fraction=0.25, images_per_class=1)
    assert ids_of(alone) == ids_of(few["train"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["ants", "bee"]}, "folder has no class 'ants'. Did you mean 'ant'"),
        ({"classes": ["ant"]}, "The train split has the single class 'ant'"),
        ({"classes": []}, "classes is empty"),
        ({"classes": ["cat"], "split": "test"}, "The test split has no usable image"),
        ({"images_per_class": 0}, "images_per_class is 0"),
        (
            {"images_per_class": 4, "validation_fraction": 0.25},
            "images_per_class is 4, but .*:\n  - ant: 3\n  - bee: 3\n",
        ),
    ],
)
def test_impossible_requests(pets, options, message):
    with pytest.raises(DatasetError, match=message):
        load_wsol_dataset("folder", pets, **options)
