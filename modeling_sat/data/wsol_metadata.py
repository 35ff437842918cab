"""The list files of clovaai/wsolevaluation, by which many methods are compared on the same splits.

`metadata/<set>/{train,val,test}` hold `image_ids.txt` (a path a line), `class_labels.txt` (`path,label`),
`image_sizes.txt` (`path,width,height`) and `localization.txt` (`path,x0,y0,x1,y1`, a box a line; of OpenImages
`path,mask.png,ignore.png`, an instance a line). The last two may be empty.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from ..sentences import listed
from .lists import (
    image_paths,
    not_empty,
    positive_number,
    read_rows,
    relative_name,
    require_same_keys,
    unique,
    whole_number,
)
from .masks import MaskFiles
from .paths import contents, inside, with_slashes
from .schema import Benchmark, Box, DatasetError, Example, Split


SPLIT_FOLDERS = {"train": "train", "val": "validation", "test": "test"}


def read_wsol_metadata(
    name: str, root: Path, metadata_dir: str | Path, image_folders: Sequence[str], class_names: list[str] | None = None
) -> Benchmark:
    """The splits of a folder `metadata/<set>`, exactly as they are listed.

    Args:
        name: of the benchmark, for messages.
        root: the folder of the benchmark; images are only read below it.
        metadata_dir: absolute, or relative to `root`.
        image_folders: folders of `root` that the listed paths may start from.
        class_names: in the order of the labels; default: the folders of the training images.

    Raises:
        DatasetError: the folder has no list files, or a line that cannot be read, unknown labels, images listed twice
            or in some of the files only.
    """
    folder = root / Path(metadata_dir).expanduser()
    splits = {
        split: folder / name for name, split in SPLIT_FOLDERS.items() if (folder / name / "image_ids.txt").is_file()
    }
    if not splits:
        held = contents(folder) if folder.is_dir() else "no such folder"
        raise DatasetError(
            f"metadata_dir {folder} has no train/image_ids.txt, val/image_ids.txt or test/image_ids.txt, but {held}. "
            "Pass the folder of one set of wsolevaluation's metadata, such as metadata/CUB."
        )
    if class_names is None:
        class_names = _class_names_of_folders(splits, root)
    read = partial(read_split, name, root, image_folders, class_names)
    return Benchmark(
        class_names,
        {split: partial(read, lists) for split, lists in splits.items()},
        boxes_as_published=True,
    )


def read_labels(lists: Path, root: Path) -> dict[str, int]:
    """Image id → label, in the order of `image_ids.txt`.

    Raises:
        DatasetError: as `read_wsol_metadata`.
    """
    ids_file, labels_file = lists / "image_ids.txt", lists / "class_labels.txt"
    for file in (ids_file, labels_file):
        if not file.is_file():
            raise DatasetError(f"{relative_name(lists, root)} has no {file.name}, but {contents(lists)}.")
    ids = unique(
        ((image_id, None) for (image_id,) in read_rows(ids_file, root, {"path": with_slashes})), ids_file, root
    )
    rows = read_rows(labels_file, root, {"path": with_slashes, "label": whole_number}, ",")
    labels = unique(rows, labels_file, root)
    require_same_keys({relative_name(ids_file, root): ids, relative_name(labels_file, root): labels})
    return {image_id: labels[image_id] for image_id in ids}


def read_boxes(lists: Path, root: Path) -> dict[str, list[Box]]:
    """Image id → boxes with the numbers of `localization.txt`."""
    columns = {"path": with_slashes, "x0": float, "y0": float, "x1": float, "y1": float}
    boxes = defaultdict(list)
    for image_id, *box in read_rows(lists / "localization.txt", root, columns, ","):
        boxes[image_id].append(tuple(box))
    return boxes


def read_sizes(lists: Path, root: Path) -> dict[str, tuple[int, int]]:
    """Image id → (width, height), empty where there is no `image_sizes.txt`."""
    file = lists / "image_sizes.txt"
    columns = {"path": with_slashes, "width": positive_number, "height": positive_number}
    return unique(read_rows(file, root, columns, ","), file, root) if file.is_file() else {}


def read_split(
    name: str,
    root: Path,
    image_folders: Sequence[str],
    class_names: Sequence[str],
    lists: Path,
    *,
    prefix: str = "",
) -> Split:
    """One split, whose list files lie in the folder `lists`.

    Args:
        prefix: what the listed paths begin with and `image_folders` already hold.

    Raises:
        DatasetError: as `read_wsol_metadata`.
    """
    labels = read_labels(lists, root)
    out_of_range = sorted({label for label in labels.values() if not 0 <= label < len(class_names)})
    if out_of_range:
        raise DatasetError(
            f"{relative_name(lists / 'class_labels.txt', root)} has the labels {out_of_range[:10]}; {name} has "
            f"{len(class_names)} classes, 0 to {len(class_names) - 1}."
        )
    sizes, boxes, masks = read_sizes(lists, root), {}, {}
    places = [image_id.removeprefix(prefix) for image_id in labels]
    folder = _image_folder(root, image_folders, places)
    if (lists / "localization.txt").is_file():
        if _lists_masks(lists / "localization.txt"):
            masks = _read_masks(lists / "localization.txt", root, image_folders)
        else:
            boxes = read_boxes(lists, root)
    for found, file in ((boxes, "localization.txt"), (masks, "localization.txt"), (sizes, "image_sizes.txt")):
        if found:
            ids_name = relative_name(lists / "image_ids.txt", root)
            require_same_keys({ids_name: labels, relative_name(lists / file, root): found})
    paths = image_paths(folder, places, lists / "image_ids.txt")
    return Split(
        [
            Example(
                path,
                image_id,
                label,
                boxes.get(image_id, ()),
                masks.get(image_id),
                sizes.get(image_id),
            )
            for path, (image_id, label) in zip(paths, labels.items(), strict=True)
        ]
    )


def _image_folder(root: Path, folders: Sequence[str], image_ids: list[str], most: int = 100) -> Path:
    """The folder that one of the first images lies in; the first folder if there is none."""
    for image_id in image_ids[:most]:
        for folder in folders:
            path = inside(root / folder, image_id)
            if path is not None and path.is_file():
                return root / folder
    return root / folders[0]


def _lists_masks(file: Path) -> bool:
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        return lines.readline().rstrip(" \t\r\n,").lower().endswith(".png")


def _read_masks(file: Path, root: Path, folders: Sequence[str]) -> dict[str, MaskFiles]:
    """Image id → files of its instances and of the ignored region, which stands on its first line."""
    rows = read_rows(file, root, {"path": with_slashes, "mask": not_empty, "ignored": str}, ",")
    names = [name for _, *both in rows for name in both if name]
    folder = _image_folder(root, folders, names)
    paths = dict(zip(names, image_paths(folder, names, file), strict=True))
    instances, ignored = defaultdict(list), {}
    for image_id, mask, ignore in rows:
        instances[image_id].append(paths[mask])
        if ignore:
            ignored[image_id] = paths[ignore]
    return {image_id: MaskFiles(tuple(masks), ignored.get(image_id)) for image_id, masks in instances.items()}


def _class_names_of_folders(splits: dict[str, Path], root: Path) -> list[str]:
    lists = splits.get("train") or splits.get("validation") or splits["test"]
    names = folders_of_labels([lists], root)
    if sorted(names) != list(range(len(names))):
        raise DatasetError(
            f"The labels of {relative_name(lists / 'class_labels.txt', root)} are not 0 to {len(names) - 1} without "
            "gaps, so that not every class has an image by whose folder it could be named."
        )
    return [names[label] for label in range(len(names))]


def folders_of_labels(lists: Sequence[Path], root: Path) -> dict[int, str]:
    """The folder of the images of each label; labels and folders go one to one.

    Raises:
        DatasetError: they do not.
    """
    rows = {image_id: label for folder in lists for image_id, label in read_labels(folder, root).items()}
    pairs = sorted({(label, PurePosixPath(image_id).parent.name) for image_id, label in rows.items()})
    for position in (0, 1):
        uses = Counter(pair[position] for pair in pairs)
        wrong = [f"label {label}: {folder}" for label, folder in pairs if uses[(label, folder)[position]] > 1]
        if wrong:
            raise DatasetError(
                f"In {relative_name(lists[0] / 'class_labels.txt', root)} labels and the folders of their images do not go "
                f"one to one:\n{listed(wrong[:10])}\nCorrect the labels."
            )
    return dict(pairs)
