"""The `evaluate` modules: loaded from their folders, offline, as users load them."""

from pathlib import Path

import evaluate
import numpy as np
import pytest
import torch

import modeling_sat.metrics


FOLDER = Path(modeling_sat.metrics.__file__).parent
NAMES = ["gt_known_loc", "top_k_loc", "max_box_acc", "max_box_acc_v2", "pxap", "piou"]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Loads each module once, with its cache of maps in a temporary folder."""
    cache = tmp_path_factory.mktemp("evaluate")
    modules = {name: evaluate.load(str(FOLDER / name), cache_dir=str(cache)) for name in NAMES}
    return modules.__getitem__


def images():
    """Three 10 x 10 maps and references. IoU by hand, under `sat`, whose boxes [0, 0, 5, 5] have 36 pixels:

    1: [0, 0, 5, 5], IoU 1.   2: [0, 0, 5, 2] -> 18 / 36 = 0.5.   3: [8, 8, 10, 10] -> 0.
    """
    predictions, references = [], []
    for rows, columns, top5 in (
        (slice(0, 5), slice(0, 5), [7, 1]),
        (slice(0, 2), slice(0, 5), [1, 7]),
        (slice(8, 10),) * 2 + ([7],),
    ):
        view_map = np.zeros((10, 10))
        view_map[rows, columns] = 1
        mask = np.zeros((10, 10), dtype=np.uint8)
        mask[:5, :5] = 1
        predictions.append({"map": view_map, "top5": top5})
        references.append({"boxes": [[0, 0, 5, 5]], "mask": mask, "label": 7})
    return predictions, references


# masks: TP 25 + 10 + 0 of 75 object pixels, FP 4. At every threshold above 0: P = 35 / 39, R = 35 / 75, IoU = 35 / 79;
# at 0 all 300 pixels: P = 75 / 300, R = 1, IoU = 75 / 300. PxAP = 35 / 39 * 35 / 75 + 75 / 300 * 40 / 75
EXPECTED = {
    "gt_known_loc": 2 / 3,
    "top_k_loc": 1 / 3,
    "max_box_acc": 2 / 3,
    "max_box_acc_v2": (2 / 3 + 2 / 3 + 1 / 3) / 3,
    "pxap": 35 / 39 * 35 / 75 + 1 / 4 * 40 / 75,
    "piou": 35 / 79,
}


@pytest.mark.parametrize("protocol", ["sat", "wsolevaluation"])
@pytest.mark.parametrize("name", NAMES)
def test_by_hand(load, name, protocol):
    predictions, references = images()
    result = load(name).compute(
        predictions=predictions, references=references, protocol=protocol, view_size=10, threshold=0.4
    )
    assert result == {name: pytest.approx(EXPECTED[name], abs=1e-12)}


def test_combined(load):
    predictions, references = images()
    combined = evaluate.combine([load(name) for name in NAMES])
    for prediction, reference in zip(predictions, references, strict=True):
        combined.add_batch(predictions=[prediction], references=[reference])
    assert combined.compute(view_size=10, k=1) == pytest.approx(EXPECTED, abs=1e-12)


def test_bare_maps_one_by_one(load):
    predictions, references = images()
    module = load("gt_known_loc")
    for prediction, reference in zip(predictions, references, strict=True):
        module.add(prediction=prediction["map"], reference={"boxes": reference["boxes"]})
    assert module.compute(view_size=10) == {"gt_known_loc": 2 / 3}


def test_k_classes_count(load):
    predictions, references = images()
    module = load("top_k_loc")
    assert module.compute(predictions=predictions, references=references, view_size=10, k=2) == {"top_k_loc": 2 / 3}
    with pytest.raises(ValueError, match="k is 6"):
        module.compute(predictions=predictions, references=references, view_size=10, k=6)


def test_maps_of_different_sizes(load):
    # bilinear from 2 x 2, left half 1: columns of 10 fall from 1 to 0 around the middle; above 0.4 are columns 0..4
    left, full = np.array([[1, 0], [1, 0]], dtype=np.float32), np.tile([1.0] * 5 + [0.0] * 5, (10, 1))
    result = load("gt_known_loc").compute(
        predictions=[left, full], references=[{"boxes": [[0, 0, 5, 9]]}] * 2, view_size=10, threshold=0.4
    )
    assert result == {"gt_known_loc": 1}


def test_several_boxes(load):
    predictions, _ = images()
    references = [
        {"boxes": [[9, 0, 9, 0], [0, 0, 5, 5]]},
        {"boxes": [[0, 0, 5, 5]]},
        {"boxes": [[0, 0, 1, 1], [8, 8, 10, 10]]},
    ]
    assert load("max_box_acc").compute(predictions=predictions, references=references, view_size=10) == {
        "max_box_acc": 1
    }


def test_own_sweep(load):
    predictions, references = images()
    result = load("max_box_acc").compute(
        predictions=predictions, references=references, view_size=(10, 10), thresholds=[0.2, 0.8]
    )
    assert result == {"max_box_acc": 2 / 3}


BAD_INPUT = [
    ("gt_known_loc", np.ones((4, 4)), {"mask": np.ones((10, 10))}, {}, "Image 0: its reference has no 'boxes'"),
    ("gt_known_loc", np.ones((4, 4)), {"boxes": []}, {}, "Image 0: its reference has no 'boxes'"),
    ("top_k_loc", np.ones((4, 4)), {"boxes": [[0, 0, 1, 1]], "label": 1}, {}, "Image 0: its prediction has no 'top5'"),
    ("pxap", np.ones((4, 4)), {"boxes": [[0, 0, 1, 1]]}, {}, "Image 0: its reference has no 'mask'"),
    ("pxap", np.ones((4, 4)), {"mask": np.ones((9, 9))}, {}, r"Image 0: the mask has shape \(9, 9\)"),
    ("piou", np.ones((4, 4)), {"mask": np.zeros((10, 10))}, {}, "no mask has an object pixel"),
    ("max_box_acc", np.ones(4), {"boxes": [[0, 0, 1, 1]]}, {}, "Image 0: the map has shape"),
    ("max_box_acc", np.ones((4, 4)), {"boxes": [[0, 0, 1, 1]]}, {"protocol": "coco"}, "Unknown protocol"),
    ("max_box_acc", np.ones((4, 4)), {"boxes": [[0, 0, 1, 1]]}, {"view_size": 0}, "positive whole numbers"),
    (
        "max_box_acc",
        np.ones((4, 4)),
        {"boxes": [[0, 0, 1, 1]]},
        {"protocol": "wsolevaluation"},
        "Image 0: .* view size",
    ),
    (
        "max_box_acc",
        np.full((10, 10), 2),
        {"boxes": [[0, 0, 1, 1]]},
        {"protocol": "wsolevaluation"},
        "Image 0: the map spans",
    ),
    (
        "pxap",
        np.full((10, 10), np.nan),
        {"mask": np.ones((10, 10))},
        {"protocol": "wsolevaluation"},
        "Image 0: .* NaN",
    ),
    ("gt_known_loc", np.ones((4, 4)), {"boxes": [[0, 0, 1], [1, 2, 3], [4, 5, 6], [7, 8, 9]]}, {}, "have shape"),
    ("top_k_loc", {"map": np.ones((4, 4)), "top5": [np.nan]}, {"boxes": [[0, 0, 1, 1]]}, {}, "Image 0 of those given"),
    ("gt_known_loc", {"heatmap": np.ones((4, 4))}, {"boxes": [[0, 0, 1, 1]]}, {}, "expected a 2-D map"),
    ("gt_known_loc", np.ones((4, 4)), [[0, 0, 1, 1]], {}, "A reference is list"),
]


@pytest.mark.parametrize("name, prediction, reference, options, message", BAD_INPUT)
def test_bad_input(load, name, prediction, reference, options, message):
    with pytest.raises(ValueError, match=message):
        load(name).compute(predictions=[prediction], references=[reference], **{"view_size": 10, **options})


@pytest.mark.parametrize("protocol", ["sat", "wsolevaluation"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_maps_that_are_not_finite_name_their_image(load, name, value, protocol):
    predictions, references = images()
    predictions[2]["map"][3, 4] = value
    options = {"protocol": protocol, "view_size": 10}
    with pytest.raises(ValueError, match="Image 2: the map has 1 of 100 values that are NaN or infinite"):
        load(name).compute(predictions=predictions, references=references, **options)


@pytest.mark.parametrize("value", [np.nan, np.inf, None])
@pytest.mark.parametrize("name", NAMES)
def test_ground_truth_that_is_not_finite_names_its_image(load, name, value):
    predictions, references = images()
    references[1]["boxes"] = [[0, 0, 5, 5], [0, value, 5, 5]]
    references[1]["mask"] = np.where(np.eye(10), np.nan if value is None else value, references[1]["mask"])
    with pytest.raises(ValueError, match=r"Image 1: (its boxes hold|the mask holds)"):
        load(name).compute(predictions=predictions, references=references, view_size=10)


@pytest.mark.parametrize("name", NAMES)
def test_empty_set(load, name):
    with pytest.raises(ValueError, match="no image to evaluate"):
        load(name).compute(predictions=[], references=[])


def test_different_numbers(load):
    with pytest.raises(ValueError, match="2 predictions came with 1 references"):
        load("pxap").compute(predictions=[np.ones((4, 4))] * 2, references=[{"mask": np.ones((10, 10))}])


def test_misspelt_argument(load):
    with pytest.raises(TypeError, match="treshold"):
        load("gt_known_loc").compute(
            predictions=[np.ones((4, 4))], references=[{"boxes": [[0, 0, 1, 1]]}], treshold=0.3
        )


@pytest.mark.parametrize("name", NAMES)
def test_tensors_of_training(load, name):
    predictions, references = images()
    for prediction in predictions:
        prediction["map"] = torch.tensor(prediction["map"], dtype=torch.bfloat16, requires_grad=True)
    result = load(name).compute(predictions=predictions, references=references, view_size=10, threshold=0.4)
    assert result == {name: pytest.approx(EXPECTED[name], abs=1e-12)}


def test_classes_are_whole_numbers(load):
    predictions, references = images()
    predictions[1]["top5"] = [7.6, 1]
    with pytest.raises(ValueError, match=r"Image 1 of those given: a class is 7.6; a whole number was expected"):
        load("top_k_loc").compute(predictions=predictions, references=references, view_size=10)
    with pytest.raises(ValueError, match="one of each for an image"):
        load("top_k_loc").add_batch(references=references)
