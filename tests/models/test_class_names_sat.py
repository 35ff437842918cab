"""Classes found by name: each case is a list of wanted classes, one of classes that are there, and rows by hand."""

import random
import re

import pytest

from modeling_sat.data.lists import distinct_names
from modeling_sat.models.class_names_sat import imagenet_synsets, match_classes


SYNSETS = imagenet_synsets()
WNIDS, WORDS = list(SYNSETS), list(SYNSETS.values())
NAMELESS = [f"LABEL_{row}" for row in range(1000)]
FISH = ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark, white shark, man-eater"]
ANIMALS = ["cat", "dog", "horse"]


def test_the_table_is_imagenet_1ks():
    assert len(SYNSETS) == 1000 and sorted(WNIDS) == WNIDS
    assert (WORDS[0], WORDS[134], WORDS[517]) == ("tench, Tinca tinca", "crane", "crane")
    assert WNIDS[999] == "n15075141"


@pytest.mark.parametrize(
    ("wanted", "there", "rows"),
    [
        (["dog", "cat", "horse"], ANIMALS, [1, 0, 2]),
        (["Dog", "CAT"], ANIMALS, [1, 0]),
        (["big_dog", "small-dog"], ["small dog", "Big Dog"], [1, 0]),
        (["dog", "axolotl"], ANIMALS, [1, None]),
        (["axolotl", "newt"], ANIMALS, [None, None]),
        (["n01443537", "n01440764"], WORDS, [1, 0]),
        (["goldfish", "tench"], WORDS, [1, 0]),
        (["Carassius auratus", "TINCA_TINCA"], WORDS, [1, 0]),
        (["great_white_shark", "St_Bernard", "jack_o_lantern"], WORDS, [2, 247, 607]),
        (["n01443537_goldfish", "n01440764 tench"], WORDS, [1, 0]),
        (["goldfish", "n01440764"], NAMELESS, [1, 0]),
        (["goldfish", "tench"], WNIDS, [1, 0]),
        (["n01443537", "n01440764"], FISH[:2], [1, 0]),
        (["n01443537", "n01440764"], ["tench", "goldfish"], [1, 0]),
        (["n01807496"], ["ruffed grouse, partridge, Bonasa umbellus", "partridge"], [1]),
        (["crane (n03126707)", "crane (n02012849)"], WORDS, [517, 134]),
        (["maillot", "maillot, tank suit"], WORDS, [638, 639]),
        (["missile", "projectile"], WORDS, [657, 744]),
        (["maillot, tank suit"], WORDS, [639]),
        (["cat", "dog", "horse"], ["LABEL_0", "LABEL_1", "LABEL_2"], [None] * 3),
        (["LABEL_1", "cat"], ANIMALS, [None, 0]),
        # A comma separates synonyms in ImageNet's names alone.
        (["Cat, large"], ["Dog, large", "Dog, small"], [None]),
        (["Dog, small", "Dog, large"], ["Dog, large", "Dog, small"], [1, 0]),
        (["C"], ["C++", "C"], [1]),
        (["ÉTÉ", "日本"], ["日本", "été"], [1, 0]),
        (["cafe\u0301", "n\u0303andu\u0301"], ["ñandú", "café"], [1, 0]),
        (["n99999999"], WORDS, [None]),
    ],
)
def test_rows(wanted, there, rows):
    assert match_classes(wanted, there).rows == rows


@pytest.mark.parametrize("name", ["crane", "maillot", "missile", "crayfish", "Cardigan", "panther"])
def test_a_name_of_several_classes_is_not_guessed(name):
    found = match_classes([name, "goldfish"], WORDS)
    assert (found.rows, found.ambiguous) == ([None, 1], [name])
    assert f"Not guessed, since the name stands for several classes or is there twice: '{name}'." in str(found)


def test_two_classes_do_not_share_a_row():
    found = match_classes(["goldfish", "Carassius auratus", "tench"], WORDS)
    assert found.rows == [None, None, 0] and found.ambiguous == ["goldfish", "Carassius auratus"]


@pytest.mark.parametrize("there", [WORDS, WNIDS, NAMELESS, [name.split(",")[0] for name in WORDS]])
@pytest.mark.parametrize("wanted", [WNIDS, distinct_names(SYNSETS)], ids=["wnids", "words"])
def test_all_of_imagenet_in_its_order(wanted, there):
    found = match_classes(wanted, there)
    assert found.rows == list(range(1000)) and found.by_position == (there is NAMELESS)


def test_all_of_imagenet_in_another_order():
    order = random.Random(0).sample(range(1000), 1000)
    rows = match_classes(WNIDS, [WORDS[index] for index in order]).rows
    cranes = [134, 517]  # whose words are the same
    assert [row is None for row in rows] == [index in cranes for index in range(1000)]
    assert all(order[row] == index for index, row in enumerate(rows) if row is not None)


@pytest.mark.parametrize(
    ("wanted", "there", "said"),
    [
        (["dog", "newt"], ANIMALS, "1 of the 2 classes keep their weights in the classifier of X, matched by name; new are 1: 'newt'."),
        (["newt"], ANIMALS, "The classifier of X is left out, .* 1 classes .* wanted are 'newt', .* knows 'cat', 'dog', 'horse'."),
        (["newt"], NAMELESS[:3], "the checkpoint has no names for its 3 classes."),
        (["goldfish"], NAMELESS, "assumed to be ImageNet-1k's in their order."),
    ],
)  # fmt: skip
def test_what_is_said(wanted, there, said):
    found = match_classes(wanted, there, "X")
    assert re.search(said, str(found)), str(found)
