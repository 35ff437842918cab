"""What is said of an image: its objects, in words and pixels, or why there are none."""

from typing_extensions import NotRequired, TypedDict


class RunLengths(TypedDict):
    """A mask as COCO's compressed run-length encoding; `size` is (height, width) of the image."""

    size: list[int]
    counts: str


class PredictedObject(TypedDict):
    """`score` is the probability of the class; `box` is `[x_min, y_min, x_max, y_max]`, half-open."""

    label: str
    score: float
    box: list[float]
    mask: NotRequired[RunLengths]


class Prediction(TypedDict):
    """One image, its width and height in pixels once upright; boxes and masks are in these pixels."""

    image: str
    width: int
    height: int
    objects: list[PredictedObject]


class Skipped(TypedDict):
    """An image without objects, and a sentence that says why."""

    image: str
    skipped: str


def unique_class_names(id2label: dict[int, str]) -> list[str]:
    """Class names in the order of their ids; a name that an earlier class has gets its id added.

    Files of labels know classes by name, and ImageNet has two that are called crane.
    """
    names: list[str] = []
    for label in sorted(id2label):
        name = id2label[label]
        names.append(f"{name} ({label})" if name in names else name)
    return names
