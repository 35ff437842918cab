"""Which images each process trains on at each step."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class TrainingBatches(Sampler[list[tuple[int, int]]]):
    """The keys, (pass, position), of one process's share of every batch of a pass.

    The order of a pass depends on `seed` and the pass alone, and all processes together take the next
    `batch_size · num_processes` images of it: as many processes or accumulation steps as one likes see the same
    batches. The last batch of a pass may be smaller; it is shared as evenly as it goes, and left out only if it has
    fewer images than there are processes.

    Args:
        num_images: of the training set.
        batch_size: images of a step and process.
        num_processes: that train together.
        process_index: of this one, from 0.
        seed: another seed, another order.
        drop_last: leave out a last batch that is not full.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        num_processes: int = 1,
        process_index: int = 0,
        seed: int = 0,
        drop_last: bool = False,
    ):
        self.num_images = num_images
        self.batch_size = batch_size
        self.num_processes = num_processes
        self.process_index = process_index
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        full, rest = divmod(self.num_images, self.batch_size * self.num_processes)
        return full + (rest >= self.num_processes and not self.drop_last)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_images).tolist()
        together = self.batch_size * self.num_processes
        for step in range(len(self)):
            share = order[step * together : (step + 1) * together][self.process_index :: self.num_processes]
            yield [(self.epoch, position) for position in share]
