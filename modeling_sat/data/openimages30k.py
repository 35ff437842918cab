"""`openimages30k`: OpenImages30k of wsolevaluation, 100 classes with masks of instances and of what to ignore."""

from pathlib import Path

from .openimages30k_classes import CLASS_NAMES
from .paths import benchmark_root, contents, first_existing
from .schema import Benchmark, DatasetError
from .wsol_metadata import SPLIT_FOLDERS, folders_of_labels, read_wsol_metadata


PUBLISHED_COUNTS = {"train": 29819, "validation": 2500, "test": 5000}
IMAGE_FOLDERS = (".", "OpenImages", "dataset/OpenImages")
METADATA_FOLDERS = ("metadata/OpenImages", "metadata", "OpenImages/metadata")


def read_openimages30k(data_dir: str | Path | None, *, metadata_dir: str | None = None) -> Benchmark:
    """Reads wsolevaluation's layout: `{train,val,test}/<machine id>/*.jpg`, mask PNGs beside them, and its list files.

    Masks are of their files' own size, often another one than the image's; there are no boxes. Classes have their
    English names: "Football" for the folder `01226z`.

    Args:
        data_dir: the folder that holds the images (in `.`, `OpenImages/` or `dataset/OpenImages/`) and the lists
            `metadata/OpenImages/{train,val,test}/*.txt`.
        metadata_dir: where the lists are, if elsewhere.

    Raises:
        DatasetError: the lists are absent, unreadable or do not fit one another.
    """
    root = benchmark_root("openimages30k", data_dir)
    metadata = first_existing(root, METADATA_FOLDERS) if metadata_dir is None else metadata_dir
    if metadata is None:
        raise DatasetError(
            f"openimages30k is read by wsolevaluation's list files, but {root} has no metadata/OpenImages; it holds "
            f"{contents(root)}. Copy them there, or pass metadata_dir."
        )
    lists = root / Path(metadata).expanduser()
    read = read_wsol_metadata("openimages30k", root, metadata, IMAGE_FOLDERS, _class_names(root, lists))
    return Benchmark(read.class_names, read.splits, PUBLISHED_COUNTS)


def _class_names(root: Path, metadata: Path) -> list[str]:
    """Names of the labels, by the folders of the listed images."""
    lists = [metadata / name for name in SPLIT_FOLDERS if (metadata / name / "image_ids.txt").is_file()]
    folders = folders_of_labels(lists, root) if lists else {}
    names = {label: CLASS_NAMES.get(folder, folder) for label, folder in folders.items()}
    return [names.get(label, f"class {label}") for label in range(max(names, default=-1) + 1)]
