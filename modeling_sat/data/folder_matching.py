"""Which image of a user's folder each annotation belongs to."""

import unicodedata
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from posixpath import normpath
from urllib.parse import unquote, urlsplit

from ..sentences import listed
from .annotations import read_annotations
from .folder_tree import ANNOTATION_FOLDERS, IMAGE_FOLDERS, FolderTree
from .paths import with_slashes
from .records import Annotation
from .schema import DatasetError
from .split_names import split_of, split_of_path


_ANNOTATION_FOLDERS = (*ANNOTATION_FOLDERS, "xmls", "label")


@dataclass(frozen=True)
class FolderAnnotations:
    """What the annotation files of a folder say.

    Attributes:
        by_image: the annotation of each annotated image.
        absent: of annotations that fit no image, the split, where it is known, and a sentence.
        not_read: files that hold nothing that is read.
    """

    by_image: dict[PurePosixPath, Annotation]
    absent: list[tuple[str | None, str]]
    not_read: list[PurePosixPath]


def match_annotations(root: Path, tree: FolderTree) -> FolderAnnotations:
    """Reads the annotation files and finds the image of each record.

    Names in a file are relative to its folder, or end the path of one image below it (below the parent, when that folder
    is for annotations). They are found although written in another normal form of Unicode, another case or with `%20`;
    of absolute paths and URLs the part that the folder has counts. Nothing outside the folder is read.

    Raises:
        DatasetError: records that cannot be read, or two with boxes, or with labels, of one image.
    """
    images = _ImagesByName(root, tree.images)
    found: dict[PurePosixPath, Annotation] = {}
    absent, unreadable, not_read = [], [], []
    for file in tree.annotation_files:
        says_something = False
        for annotation in read_annotations(root, file):
            says_something = True
            if isinstance(annotation, str):
                unreadable.append(annotation)
                continue
            image = images.of(annotation)
            if isinstance(image, str):
                absent.append((split_of_path(file) or split_of(file.stem), image))
            elif image not in found:
                found[image] = annotation
            elif (merged := _merged(found[image], annotation)) is None:
                unreadable.append(f"{annotation.source}: {image} is also annotated in {found[image].source}; keep one")
            else:
                found[image] = merged
        if not says_something and (root / file).stat().st_size:
            not_read.append(file)
    if unreadable:
        raise DatasetError(
            f"The annotations in {root} cannot be used:\n{listed(unreadable)}\nCorrect or remove these records."
        )
    return FolderAnnotations(found, absent, not_read)


def _merged(first: Annotation, second: Annotation) -> Annotation | None:
    """One annotation of two, where one has the boxes and the other the label."""
    boxes, label = (first, second) if first.objects else (second, first)
    if not boxes.objects or label.objects or label.label is None or boxes.label not in (None, label.label):
        return None
    return replace(boxes, label=label.label)


class _ImagesByName:
    def __init__(self, root: Path, images: list[PurePosixPath]):
        self.root = PurePosixPath(normpath(root))
        self.by_name = defaultdict(list)
        for image in images:
            self.by_name[_loose(image.name)].append(image)
            self.by_name[_loose(image.stem)].append(image)

    def of(self, annotation: Annotation) -> PurePosixPath | str:
        """The image that an annotation is of, or a sentence that says why there is none."""
        source, given, file = annotation.source, annotation.image_name, annotation.file
        is_url = "://" in given
        path = PurePosixPath(unquote(urlsplit(given).path).lstrip("/") if is_url else with_slashes(given))
        if "\ufffd" in given:
            return f"{source}: it names {given!r}, in bytes that are not UTF-8; save {file} as UTF-8"
        candidates = self.by_name.get(_loose(path.name), [])
        if annotation.by_stem:
            candidates = [image for image in candidates if _loose(image.stem) == _loose(path.name)]

        is_elsewhere = is_url or path.is_absolute() or PureWindowsPath(path).drive
        full = PurePosixPath(normpath(path if path.is_absolute() else self.root / file.parent / path))
        is_inside = not is_url and not PureWindowsPath(path).drive and full.is_relative_to(self.root)
        if is_elsewhere and not is_inside:
            fitting = _most_alike(path, _ending(path, candidates, file))
            kind = "URL" if is_url else "absolute path"
            reason = f"the {kind} {given!r}, which is outside the data folder; no such file is read, and no file here ends like it"
        elif not is_inside:
            fitting, reason = [], f"{given!r}, which is outside the data folder; no such file is read"
        else:
            relative = full.relative_to(self.root)
            fitting = [image for image in candidates if _is_called(image, relative, annotation.by_stem)]
            fitting = _most_alike(relative, fitting)
            if len(fitting) != 1 and not is_elsewhere:
                fitting = _most_alike(path, _nearest(file, _below(_scope(file), path, candidates)))
            named_alike = self.by_name.get(_loose(path.stem), [])
            reason = f"{given!r}, but there is no such image" + (f"; there is {named_alike[0]}" if named_alike else "")
        if len(fitting) > 1:
            return f"{source}: it fits {len(fitting)} images, {fitting[0]} and {fitting[1]} among them"
        return fitting[0] if fitting else f"{source}: it names {reason}"


def _below(folder: PurePosixPath, path: PurePosixPath, candidates: list[PurePosixPath]) -> list[PurePosixPath]:
    """The images below a folder, whose folders end as those of a path do."""
    ending = _parts(PurePosixPath(normpath(path)).parent)
    return [
        image
        for image in candidates
        if image.is_relative_to(folder) and (not ending or _parts(image.parent)[-len(ending) :] == ending)
    ]


def _ending(path: PurePosixPath, candidates: list[PurePosixPath], file: PurePosixPath) -> list[PurePosixPath]:
    """The images whose path, from the annotation file's folder or one above, ends a path of elsewhere; the longest."""
    scope, folders = _scope(file), _parts(path.parent)
    lengths = {}
    for image in candidates:
        for base in (scope, *scope.parents):
            if image.is_relative_to(base):
                own = _parts(image.parent.relative_to(base))
                for end in [own, own[1:]] if own and own[0] in IMAGE_FOLDERS else [own]:
                    if not end or folders[-len(end) :] == end:
                        lengths[image] = max(lengths.get(image, 0), len(end))
    return [image for image, length in lengths.items() if length == max(lengths.values())]


def _parts(folder: PurePosixPath) -> list[str]:
    return [_loose(part) for part in folder.parts]


def _loose(path: PurePosixPath | str) -> str:
    """A name as it is compared: `%20` is a space, an é one letter, and case does not matter."""
    return unicodedata.normalize("NFC", unquote(str(path))).casefold()


def _is_called(image: PurePosixPath, path: PurePosixPath, by_stem: bool) -> bool:
    return _loose(image.with_suffix("") if by_stem else image) == _loose(path)


def _most_alike(path: PurePosixPath, images: list[PurePosixPath]) -> list[PurePosixPath]:
    """Of images whose names differ in case or encoding alone, the one that is written as `path` is."""
    for alike in (str, lambda name: unicodedata.normalize("NFC", str(name))):
        exact = [image for image in images if alike(image).endswith(alike(path))]
        if len(exact) == 1:
            return exact
    return images


def _scope(file: PurePosixPath) -> PurePosixPath:
    """The folder that an annotation file speaks of: its own, or the one that its folder for annotations is in."""
    for folder in reversed((file.parent, *file.parent.parents)):
        if folder.name.lower() in _ANNOTATION_FOLDERS:
            return folder.parent
    return file.parent


def _nearest(file: PurePosixPath, images: list[PurePosixPath]) -> list[PurePosixPath]:
    """Those images that have most folder names in common with an annotation file (`train`, in `instances_train.json`)."""
    words = {*file.parent.parts, *file.stem.split("_")}
    shared = [len(words.intersection(image.parent.parts)) for image in images]
    return [image for image, count in zip(images, shared, strict=True) if count == max(shared)]
