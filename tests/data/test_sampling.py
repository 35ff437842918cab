from modeling_sat.data import stratified_split


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
