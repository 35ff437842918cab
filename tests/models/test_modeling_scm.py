"""SCM against its formulas, written once more on tokens and attentions of the backbone."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_mixin import LABELS, config_of, images, model_of

from modeling_sat.models.modeling_scm import (
    ActivationDiffusion,
    SCMConfig,
    grid_laplacian,
    newton_schulz,
    step_size,
    tanhshrink,
    to_unit_range,
)


def neighbours(height, width):
    """By counting: degree on the diagonal, -1 for each patch above, below, left and right."""
    laplacian = torch.zeros(height * width, height * width, dtype=torch.float64)
    for row in range(height):
        for column in range(width):
            for other_row, other_column in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                if 0 <= other_row < height and 0 <= other_column < width:
                    laplacian[row * width + column, other_row * width + other_column] -= 1
                    laplacian[row * width + column, row * width + column] += 1
    return laplacian


def spectral(matrix, num_steps, step=0.002):
    """What Newton-Schulz gives of a symmetric matrix, by its eigenvalues: (1 − (1 − step σ²)^(2^steps)) / σ."""
    values, vectors = torch.linalg.eigh(matrix.double())
    inverted = (1 - (1 - step * values**2) ** (2**num_steps)) / torch.where(values.abs() < 1e-9, 1, values)
    inverted = torch.where(values.abs() < 1e-9, 2**num_steps * step * values, inverted)
    return vectors @ (inverted[:, None] * vectors.mT)


def unit(values):
    values = values - values.min()
    return values / values.max()


def system_of(height, width, similarity_weight=1.0, seed=0):
    """X of random class scores of a grid, (1, patches, patches) float64, symmetric."""
    scores = torch.randn(height * width, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores = scores / scores.norm(dim=1, keepdim=True)
    return (neighbours(height, width) * (similarity_weight * scores @ scores.mT - 1))[None]


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 4), (3, 6)])
def test_the_laplacian_counts_neighbours(grid):
    assert torch.equal(grid_laplacian(*grid).double(), neighbours(*grid))


@pytest.mark.parametrize("num_steps", [4, 16])
@pytest.mark.parametrize("grid", [(4, 4), (3, 6)])
def test_the_iteration_inverts_what_it_reaches(grid, num_steps):
    matrix = system_of(*grid)
    torch.testing.assert_close(newton_schulz(matrix, num_steps)[0], spectral(matrix[0], num_steps))
    found = newton_schulz(matrix.float(), num_steps)[0].double()
    torch.testing.assert_close(found, spectral(matrix[0], num_steps), rtol=0, atol=1e-3 * found.abs().max().item())


def test_the_first_guess_carries_no_gradient():
    matrix = system_of(2, 3).requires_grad_()
    weight = torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (newton_schulz(matrix, 1)[0] * weight).sum().backward()
    guess = 0.002 * matrix[0].detach().mT
    # V = 2G − G X G with G fixed: the gradient of sum(W ⊙ V) is −Gᵀ W Gᵀ.
    torch.testing.assert_close(matrix.grad[0], -guess.mT @ weight @ guess.mT)


@pytest.mark.parametrize("similarity_weight", [-8.0, -2.8, 0.0, 1.0, 3.8, 20.0])
def test_the_step_converges_whatever_lambda_becomes(similarity_weight):
    matrix = system_of(6, 9, similarity_weight)
    step = step_size(torch.tensor(similarity_weight)).item()
    assert (step == pytest.approx(0.002)) == (-2.81 < similarity_weight < 3.81)
    assert step * torch.linalg.matrix_norm(matrix[0], 2) ** 2 < 2
    found = newton_schulz(matrix.float(), 16, step)[0].double()
    exact = spectral(matrix[0], 16, step)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.01 * exact.abs().max().item())


def test_the_authors_step_would_diverge_far_from_their_start():
    assert not newton_schulz(system_of(6, 9, 40.0).float(), 16).isfinite().all()


def test_larger_grids_converge_as_small_ones_do():
    # ‖X‖ is bounded by the four neighbours, not by the grid.
    matrix = system_of(20, 24)
    assert torch.linalg.matrix_norm(matrix[0], 2) < 8
    exact = spectral(matrix[0], 16)
    found = newton_schulz(matrix.float(), 16)[0].double()
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-2 * exact.abs().max().item())


def test_tanhshrink_keeps_its_digits_near_zero():
    values = torch.cat([torch.logspace(-5, 1, 200), -torch.logspace(-5, 1, 200)])
    exact = values.double() - values.double().tanh()
    torch.testing.assert_close(tanhshrink(values).double()[values.abs() > 1e-2], exact[values.abs() > 1e-2], rtol=3e-5, atol=0)  # fmt: skip
    cubed = values.double() ** 3 / 3  # whose next term is 2/5 x² of it
    small = values.abs() < 1e-3
    torch.testing.assert_close(tanhshrink(values).double()[small], cubed[small], rtol=1e-6, atol=0)


def test_a_block_by_hand():
    # Two patches side by side, E = 0.5, λ = 1, β = 0.5: X = [[0, .5], [.5, 0]], of 4 steps V = v X / 0.25 with
    # v = 1 − (1 − .002 · .25)^16. F = [1, 0]: V F = [0, v/.5], over β max F = .5 is [0, 4v]; normalized [0, 1].
    similarity = torch.tensor([[[1.0, 0.5], [0.5, 1.0]]])
    block = ActivationDiffusion(4)
    found = block(torch.tensor([[1.0, 0.0]]), similarity, grid_laplacian(1, 2))
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0]]))


@pytest.mark.parametrize("size", [(32, 32), (24, 48)])
def test_training_passes_the_class_maps_through_the_blocks_and_evaluation_does_not(size):
    model = model_of("scm", drop_path_rate=0.0)
    with torch.no_grad():
        for index, block in enumerate(model.diffusion):
            block.similarity_weight.fill_(0.8 + 0.1 * index)
            block.threshold.fill_(0.4 + 0.1 * index)
    height, width = (side // 8 for side in size)
    inputs = images(2, *size)
    with torch.no_grad():
        evaluated = model(inputs, output_class_maps=True, interpolate_pos_encoding=True)
        model.train()
        trained = model(inputs, labels=LABELS[:2], output_class_maps=True, interpolate_pos_encoding=True)
        tokens = model.eval().encode(inputs, interpolate_pos_encoding=True, output_attentions=True)
        head = model.patch_classifier
        semantic = torch.nn.functional.conv2d(
            tokens.last_hidden_state[:, 1:].mT.unflatten(2, (height, width)), head.weight, head.bias, padding=1
        )
    expected, class_maps = [], []
    for image in range(2):
        scores = semantic[image].double().flatten(1)  # (classes, patches)
        activation = unit(sum(attention[image, :, 0, 1:].double().mean(dim=0) for attention in tokens.attentions))
        class_maps.append((scores * activation).unflatten(1, (height, width)))
        for index in range(4):
            cosines = scores / scores.norm(dim=0)
            system = neighbours(height, width) * ((0.8 + 0.1 * index) * cosines.mT @ cosines - 1)
            spread = spectral(system, 16 if index == 0 else 4) @ activation
            spread = spread / ((0.4 + 0.1 * index) * activation.max())
            spread = unit(spread - spread.tanh())
            scores, activation = scores + scores * spread, activation + spread
        expected.append(scores.mean(dim=1))
    expected, class_maps = torch.stack(expected).float(), torch.stack(class_maps).float()

    torch.testing.assert_close(trained.logits, expected, rtol=1e-3, atol=1e-3)
    loss = torch.nn.functional.cross_entropy(expected, LABELS[:2])
    torch.testing.assert_close(trained.loss, loss, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(evaluated.logits, semantic.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    assert (trained.logits - evaluated.logits).abs().max() > 0.1  # a forgotten block would show
    for outputs in (trained, evaluated):
        torch.testing.assert_close(outputs.class_maps, class_maps, rtol=1e-4, atol=1e-4)


def test_inference_does_not_ask_for_lambda_and_beta():
    model = model_of("scm")
    with torch.no_grad():
        expected = model(images())
        for parameter in model.diffusion.parameters():
            parameter.fill_(float("nan"))
        found = model(images())
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.localization_map, expected.localization_map)


def test_every_block_learns_lambda_and_beta():
    model = model_of("scm").train()
    model(images(), labels=LABELS).loss.backward()
    gradients = [parameter.grad for parameter in model.diffusion.parameters()]
    assert len(gradients) == 8 and all(gradient.isfinite().all() and gradient != 0 for gradient in gradients)


@pytest.mark.parametrize("precision", ["autocast", torch.bfloat16, torch.float16])
def test_half_precision_trains_on_the_usual_grid(precision):
    torch.manual_seed(0)
    model = model_of("scm", image_size=112).train()  # 14×14 patches
    dtype = torch.bfloat16 if precision == "autocast" else precision
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        outputs = model.to(torch.float32 if precision == "autocast" else dtype)(
            images(3, 112, 112).to(next(model.parameters()).dtype), labels=LABELS
        )
    outputs.loss.backward()
    assert outputs.logits.dtype == dtype and outputs.loss.dtype == torch.float32
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("constant", ["activation", "maps", "both"])
def test_nothing_to_spread_changes_nothing_and_gives_finite_gradients(constant):
    model = model_of("scm")
    maps, activation = torch.randn(2, 5, 3, 4), torch.rand(2, 12)
    if constant != "activation":
        maps = torch.zeros_like(maps) if constant == "both" else maps[:, :, :1, :1].expand(2, 5, 3, 4)
    if constant != "maps":
        activation = torch.zeros_like(activation)
    maps, activation = maps.clone().requires_grad_(), activation.requires_grad_()
    gain = model.calibration(maps, activation)
    (gain[:, :, None] * torch.randn(4)).sum().backward()
    assert gain.isfinite().all() and (gain >= 1).all()
    if constant != "maps":
        assert (gain == 1).all()
    assert maps.grad.isfinite().all() and (activation.grad is None or activation.grad.isfinite().all())
    assert all(parameter.grad.isfinite().all() for parameter in model.diffusion.parameters())


def test_an_even_map_has_no_unit_range():
    values = torch.tensor([[2.0, 2.0], [1.0, 3.0]], requires_grad=True)
    found = to_unit_range(values)
    assert found.tolist() == [[0, 0], [0, 1]]
    found.sum().backward()
    assert values.grad.isfinite().all()


def test_a_part_of_a_batch_weighs_its_share():
    model = model_of("scm", drop_path_rate=0.0).train()
    whole = model(images(), labels=LABELS).loss
    parts = [
        model(images()[part], labels=LABELS[part], num_items_in_batch=3).loss for part in (slice(0, 2), slice(2, 3))
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_training_compiles_into_one_graph():
    torch.compiler.reset()
    model = model_of("scm", drop_path_rate=0.0).train()
    with torch.no_grad():
        expected = model(images(), labels=LABELS)
        found = torch.compile(model, fullgraph=True, backend="eager")(images(), labels=LABELS)
    torch.testing.assert_close(found.logits, expected.logits)


def test_the_number_of_blocks_is_checked():
    assert len(model_of("scm", num_diffusion_blocks=2).diffusion) == 2
    with pytest.raises(StrictDataclassError, match="num_diffusion_blocks is 0; choose 1 or more"):
        SCMConfig(num_diffusion_blocks=0)
    assert config_of("scm").num_diffusion_blocks == 4
