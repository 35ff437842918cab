"""The sentences under a table: what each of its runs did."""

from collections.abc import Callable, Sequence

from .results import Key, Outcome, StudyResults


CLASS_METRICS = frozenset(("top1_cls", "top5_cls", "top1_loc", "top5_loc"))
"""Metrics that depend on how an image is classified."""
PAPERS_THRESHOLD = "pass and threshold the best on the test images"
PAPERS_CLASSES = "classes from ten crops"
"""How the published numbers were measured (section 4.1 of the paper; the authors' `train.py`)."""
FEW_IMAGES = (
    "The paper does not say how long it trains on a few images of each class; here it is as many steps as on all "
    "images, since as many passes would be a few steps."
)


def describe(results: StudyResults, metrics: Sequence[str], few_images: bool = False) -> str:
    """How the runs were measured, by what each of them recorded; counted where they are not alike.

    Args:
        metrics: those that the table shows.
        few_images: whether rows or columns are numbers of training images.
    """
    runs = [(key, outcome) for key, outcomes in results.outcomes.items() for outcome in outcomes.values()]
    if not runs:
        return "No run has ended well."
    said = [_counted(runs, _protocol), _counted(runs, _threshold)]
    if CLASS_METRICS & set(metrics):
        said.append(_counted(runs, _classes))
    sentences = [f"{'; '.join(text for text in said if text)}."]
    if few_images:
        sentences += [FEW_IMAGES, f"Trained for {_counted(runs, _steps)}."]
    text = " ".join(sentences)
    return text[0].upper() + text[1:]


def _counted(runs: Sequence[tuple[Key, Outcome]], describe_one: Callable[[Outcome], str]) -> str:
    """What all runs say; else each of what they say with the number of runs, and their places if these are few."""
    places: dict[str, list[Key]] = {}
    for key, outcome in runs:
        places.setdefault(describe_one(outcome), []).append(key)
    if len(places) == 1:
        return next(iter(places))
    parts = []
    for text, keys in places.items():
        names = list(dict.fromkeys(map(str, keys)))
        where = f": {'; '.join(names)}" if len(names) <= 4 else ""
        parts.append(f"{text} ({'1 run' if len(keys) == 1 else f'{len(keys)} runs'}{where})")
    return ", ".join(parts)


def _protocol(outcome: Outcome) -> str:
    seen = {True: ", centre crop", False: ", whole image", None: ""}[outcome.cropped]
    return f"protocol {outcome.protocol or 'unknown'}{seen}"


def _threshold(outcome: Outcome) -> str:
    if outcome.threshold is None:
        return "no threshold"
    return {
        "validation": "threshold chosen on validation images",
        "test": "threshold chosen on the test images themselves, the published habit",
        "train": "threshold chosen on images that may have been trained on",
        "fixed": f"threshold fixed at {outcome.threshold:g}, without images to choose it on",
    }.get(outcome.threshold_source, f"threshold {outcome.threshold:g}, and no record says how it was chosen")


def _classes(outcome: Outcome) -> str:
    return {True: "classes from ten crops", False: "classes from a single view"}.get(
        outcome.ten_crop, "no record of how many crops classes are from"
    )


def _steps(outcome: Outcome) -> str:
    return "an unknown number of steps" if outcome.steps is None else f"{outcome.steps:,} steps"
