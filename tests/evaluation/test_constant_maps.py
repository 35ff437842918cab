import numpy as np
import pytest

from modeling_sat.evaluation import LocalizationEvaluator, PixelCounts, View, constant_map_baselines
from modeling_sat.evaluation.constant_maps import centred_gaussian


VIEW = View((40, 60), None)


def random_masks(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.choice([0, 1, 255], size=(40, 60), p=[0.6, 0.3, 0.1]).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("protocol", ["sat", "wsolevaluation"])
def test_equals_the_evaluator_on_the_same_map(protocol):
    # The evaluator min-max normalizes a map, so one from 0 to 1 is given.
    masks, constant = random_masks(4), centred_gaussian(VIEW, 0.3)
    constant = (constant - constant.min()) / (constant.max() - constant.min() + 1e-5 * (protocol == "sat"))
    evaluator = LocalizationEvaluator(protocol, VIEW)
    evaluator.update(list("abcd"), [constant] * 4, sizes=[(40, 60)] * 4, masks=masks)
    assert PixelCounts.of(masks, VIEW).score(constant) == pytest.approx(evaluator.compute(None), abs=1e-12)


def test_uniform_map_scores_the_share_of_object_pixels():
    mask = np.zeros((40, 60), np.uint8)
    mask[:10], mask[10:20] = 1, 255  # a third of the 30 rows that count
    counts = PixelCounts.of([mask, None], VIEW)
    assert constant_map_baselines(VIEW, counts, counts)["uniform"] == {"pxap": 1 / 3, "piou": 1 / 3}


def test_the_gaussian_is_chosen_on_the_other_masks():
    small, large = np.zeros((2, 40, 60), np.uint8)
    small[18:22, 27:33], large[2:38, 3:57] = 1, 1
    counts = [PixelCounts.of([mask], VIEW) for mask in (small, large)]
    sigmas = [constant_map_baselines(VIEW, chosen_on, counts[0])["gaussian"]["sigma"] for chosen_on in counts]
    assert sigmas[0] <= sigmas[1]


def test_the_gaussian_is_centred():
    gaussian = centred_gaussian(VIEW, 0.2)
    np.testing.assert_allclose(gaussian, gaussian[::-1, ::-1])
    assert np.unravel_index(gaussian.argmax(), gaussian.shape) in [(19, 29), (19, 30), (20, 29), (20, 30)]
