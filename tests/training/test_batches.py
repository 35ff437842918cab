import json

import pytest
import torch
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node

from modeling_sat.data.preparation import PreparationSettings, prepare_dataset
from modeling_sat.training.batches import TrainingBatches


TOGETHER = 16
SPLITS = [(1, 16), (2, 8), (4, 4), (8, 2), (16, 1)]


def passes(num_images: int, processes: int, batch_size: int, epoch: int = 0, **settings) -> list[list[list]]:
    """The keys of (step, process)."""
    samplers = [TrainingBatches(num_images, batch_size, processes, rank, **settings) for rank in range(processes)]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    shares = [list(sampler) for sampler in samplers]
    assert {len(share) for share in shares} == {len(sampler) for sampler in samplers}
    return [list(step) for step in zip(*shares, strict=True)]


def union(step: list[list]) -> set:
    return {key for share in step for key in share}


@pytest.mark.parametrize("num_images", [16, 37, 48, 61, 100])
@pytest.mark.parametrize(("processes", "batch_size"), SPLITS)
def test_every_division_sees_the_same_batches(num_images, processes, batch_size):
    alone = passes(num_images, 1, TOGETHER, epoch=2, seed=5)
    divided = passes(num_images, processes, batch_size, epoch=2, seed=5)
    rest = num_images % TOGETHER
    expected = alone[:-1] if 0 < rest < processes else alone
    assert [union(step) for step in divided] == [union(step) for step in expected]
    for step in divided:
        sizes = [len(share) for share in step]
        assert max(sizes) - min(sizes) <= 1 and min(sizes) >= 1
        assert sum(sizes) == len(union(step))  # no image twice


@pytest.mark.parametrize(("num_images", "left_out"), [(32, 0), (33, 1), (35, 3), (36, 0), (39, 0)])
def test_a_pass_has_every_image_once(num_images, left_out):
    keys = [key for step in passes(num_images, 4, 4, epoch=1) for share in step for key in share]
    assert {epoch for epoch, _ in keys} == {1}
    positions = [position for _, position in keys]
    assert len(positions) == len(set(positions)) == num_images - left_out
    assert set(positions) <= set(range(num_images))


def test_drop_last_leaves_full_batches_alone():
    steps = passes(39, 4, 4, drop_last=True)
    assert [[len(share) for share in step] for step in steps] == [[4] * 4] * 2


def test_passes_and_seeds_differ():
    orders = [
        [key[1] for step in passes(50, 1, 8, epoch=epoch, seed=seed) for share in step for key in share]
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (0, 0))
    ]
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] and orders[0] != orders[2]
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_the_next_seed_is_not_the_next_pass():
    assert [key[1] for key in passes(50, 1, 50, epoch=1, seed=6)[0][0]] != [
        key[1] for key in passes(50, 1, 50, epoch=0, seed=7)[0][0]
    ]


def test_the_order_is_no_secret_of_torchs_global_random_numbers():
    torch.manual_seed(1)
    first = passes(50, 1, 8)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert passes(50, 1, 8) == first
    assert torch.equal(torch.get_rng_state(), state)


def test_two_processes_read_disjoint_images_of_a_stream(tmp_path):
    prepare_dataset(
        PreparationSettings(
            dataset="shapes", output_dir=str(tmp_path), dataset_options={"num_train": 40, "num_validation": 4},
            splits=["train"], images_per_shard=10,
        )
    )  # fmt: skip
    stream = load_dataset(str(tmp_path), split="train", streaming=True)
    shares = [
        [json.dumps(row["image"].tobytes().hex()) for row in split_dataset_by_node(stream, rank, 2)] for rank in (0, 1)
    ]
    assert not set(shares[0]) & set(shares[1])
    assert [len(share) for share in shares] == [20, 20]
