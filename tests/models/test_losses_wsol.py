"""The losses on maps: sums that a reader can redo, and the area over two processes."""

import math
import time
from datetime import timedelta

import pytest
import torch
from model_mixin import LABELS, images, tiny_model

from modeling_sat.models.losses_wsol import area_loss, normalization_loss


class TestAreaLoss:
    # mean(0.2, 0.4, 0.6, 0.8) = 0.5
    @pytest.mark.parametrize(("target", "loss", "slope"), [(0.35, 0.15, 0.25), (0.75, 0.25, -0.25)])
    def test_by_hand(self, target, loss, slope):
        localization_map = torch.tensor([[[0.2, 0.4], [0.6, 0.8]]], requires_grad=True)
        value = area_loss(localization_map, target)
        value.backward()
        assert value.item() == pytest.approx(loss)
        torch.testing.assert_close(localization_map.grad, torch.full((1, 2, 2), slope))

    def test_is_of_the_batch_and_not_of_its_images(self):
        # Means 0.1 and 0.6: 0.35 together. Image by image it would be 0.25.
        maps = torch.stack([torch.full((2, 2), 0.1), torch.full((2, 2), 0.6)])
        assert area_loss(maps, 0.35).item() == pytest.approx(0, abs=1e-7)

    def test_without_processes_global_is_local(self):
        maps = torch.rand(2, 3, 3)
        assert area_loss(maps, 0.35, over_all_processes=True) == area_loss(maps, 0.35)


def larger_root(product: float) -> float:
    """x >= 0.5 with x(1 - x) = product."""
    return (1 + math.sqrt(1 - 4 * product)) / 2


class TestNormalizationLoss:
    @pytest.mark.parametrize(
        ("sigma", "center", "edge", "corner"),
        [(0.418, 0.805, 0.046, 0.0026), (6, 0.1132, 0.1116, 0.1101)],
    )
    def test_kernel(self, sigma, center, edge, corner):
        # A single 1 in a map of 1×1, 1×2 and 2×2 patches leaves c; c and e; c, e, e and k after the filter.
        def total(*shape):
            impulse = torch.zeros(1, *shape, dtype=torch.float64)
            impulse[0, 0, 0] = 1
            return normalization_loss(impulse, 3, sigma).item() * impulse.numel()

        terms = {"center": total(1, 1), "edge": total(1, 2) - total(1, 1)}
        terms["corner"] = total(2, 2) - terms["center"] - 2 * terms["edge"]
        kernel = {name: 1 - larger_root(value) for name, value in terms.items()}
        if center > 0.5:
            kernel["center"] = larger_root(terms["center"])
        assert kernel["center"] == pytest.approx(center, abs=0.0005)
        assert kernel["edge"] == pytest.approx(edge, abs=0.0005)
        assert kernel["corner"] == pytest.approx(corner, abs=0.00005)
        assert kernel["center"] + 4 * (kernel["edge"] + kernel["corner"]) == pytest.approx(1)

    def test_without_filter_by_hand(self):
        # (0·1 + 1·0 + 0.5·0.5 + 0.1·0.9) / 4 = 0.34 / 4
        localization_map = torch.tensor([[[0, 1], [0.5, 0.1]]])
        assert normalization_loss(localization_map, kernel_size=1).item() == pytest.approx(0.085)

    def test_zero_padding_shows_at_the_border(self):
        # All ones, 1×3; the kernel's profile is 0.05131, 0.89739, 0.05131. The rows above and below are zero, which
        # leaves 0.89739 in the middle, and 0.89739 · (0.89739 + 0.05131) = 0.85135 at each end.
        # (2 · 0.85135 · 0.14865 + 0.89739 · 0.10261) / 3 = 0.11506
        assert normalization_loss(torch.ones(1, 1, 3)).item() == pytest.approx(0.11506, abs=2e-5)


CASES = {
    # batch sizes of the two processes, and a shift of each one's scores: below 0 the map is small, above it large
    "both sides of the target": ((2, 2), (-2.0, 2.0)),
    "uneven, both sides": ((3, 1), (-2.0, 3.0)),
    "uneven, the larger one above": ((1, 4), (-3.0, 1.0)),
    "same side": ((2, 2), (1.0, 2.0)),
}


def process_inputs(case: str, rank: int) -> torch.Tensor:
    sizes, shifts = CASES[case]
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(sizes[rank], 4, 4, generator=generator, dtype=torch.float64) + shifts[rank]


def area_of_scores(weight: torch.Tensor, scores: torch.Tensor, over_all_processes: bool = False) -> torch.Tensor:
    return area_loss(torch.sigmoid(weight * scores), 0.35, over_all_processes)


def run_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=timedelta(seconds=180)
    )
    results = {}
    for case in CASES:
        weight = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        value = area_of_scores(weight, process_inputs(case, rank), over_all_processes=True)
        value.backward()
        torch.distributed.all_reduce(weight.grad)
        results[case] = (value.item(), weight.grad.item() / 2)  # as DistributedDataParallel averages

    model = tiny_model(drop_path_rate=0.0)
    if rank == 0:
        # Evaluation asks nothing of the other process, which does not come here.
        model(images(1), labels=LABELS[:1])
    for reduction in ("global", "local"):
        model.config.area_reduction = reduction
        parallel = torch.nn.parallel.DistributedDataParallel(model.train())
        model.zero_grad()
        outputs = parallel(images(4)[2 * rank : 2 * rank + 2], labels=torch.tensor([0, 4, 2, 1])[2 * rank :][:2])
        outputs.loss.backward()
        results[reduction] = (
            outputs.area_loss.item(),
            outputs.localization_map.mean().item(),
            torch.cat([parameter.grad.flatten() for parameter in model.parameters()]),
        )
    # Uneven shares of a batch of known size, as Trainer passes them: 3 images and 1.
    model.config.area_reduction = "global"
    parallel = torch.nn.parallel.DistributedDataParallel(model.train())
    model.zero_grad()
    share = slice(0, 3) if rank == 0 else slice(3, 4)
    outputs = parallel(images(4)[share], labels=torch.tensor([0, 4, 2, 1])[share], num_items_in_batch=torch.tensor(4))
    (2 * outputs.loss).backward()  # Trainer does so, since DistributedDataParallel averages
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    names = ("loss", "classification_loss", "area_loss", "normalization_loss")
    results["shares"] = ({name: outputs[name].item() for name in names}, gradient)
    torch.save(results, f"{folder}/{rank}.pt")
    # What holds the group goes first, on both sides: freed after it, or after the other has left, it may wait forever.
    del parallel, outputs
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


class TestTwoProcesses:
    @pytest.fixture(scope="class")
    def results(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("processes")
        context = torch.multiprocessing.spawn(run_process, (str(folder),), nprocs=2, join=False)
        deadline = time.monotonic() + 300
        while not context.join(timeout=5):
            if time.monotonic() > deadline:
                for process in context.processes:
                    process.kill()
                pytest.fail("The two processes waited for each other for 300 seconds.")
        return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]

    @pytest.mark.parametrize("case", CASES)
    def test_area_loss_is_that_of_one_process(self, results, case):
        weight = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        parts = [process_inputs(case, rank) for rank in (0, 1)]
        expected = area_of_scores(weight, torch.cat(parts))
        expected.backward()
        for value, gradient in (result[case] for result in results):
            assert value == pytest.approx(expected.item(), abs=1e-6)
            assert gradient == pytest.approx(weight.grad.item(), abs=1e-6)
        # What the authors' code does, each process for itself, is another number where the means lie on both sides.
        local = [area_of_scores(weight, part).item() for part in parts]
        if case != "same side":
            assert abs(sum(local) / 2 - expected.item()) > 0.05

    def test_training_step_of_the_whole_model(self, results):
        model = tiny_model(drop_path_rate=0.0).train()
        outputs = model(images(4), labels=torch.tensor([0, 4, 2, 1]))
        outputs.loss.backward()
        expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        for area, _, gradient in (result["global"] for result in results):
            assert area == pytest.approx(outputs.area_loss.item(), abs=1e-6)
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)

    def test_uneven_shares_of_a_batch_add_up(self, results):
        model = tiny_model(drop_path_rate=0.0).train()
        outputs = model(images(4), labels=torch.tensor([0, 4, 2, 1]))
        outputs.loss.backward()
        expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        shares = [result["shares"] for result in results]
        assert sum(losses["loss"] for losses, _ in shares) == pytest.approx(outputs.loss.item(), abs=1e-6)
        for name in ("classification_loss", "area_loss", "normalization_loss"):
            weighted = shares[0][0][name] * 3 / 4 + shares[1][0][name] / 4
            assert weighted == pytest.approx(outputs[name].item(), abs=1e-6)
        for _, gradient in shares:
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)

    def test_local_reduction_is_each_process_for_itself(self, results):
        for area, mean, _ in (result["local"] for result in results):
            assert area == pytest.approx(abs(mean - 0.35), abs=1e-6)
        assert results[0]["local"][0] != pytest.approx(results[1]["local"][0], abs=1e-4)
