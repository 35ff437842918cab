"""The files of a user's folder, sorted by purpose."""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from .annotations import METADATA_FILES
from .mask_folders import find_masks
from .masks import MaskKind
from .paths import IMAGE_SUFFIXES, is_utf8, walk
from .yolo import NAME_LISTS, NAME_YAMLS


TOP = PurePosixPath(".")
IMAGE_FOLDERS = ("images", "jpegimages")
ANNOTATION_FOLDERS = ("annotations", "annotation", "labels")
ANNOTATION_SUFFIXES = frozenset([".xml", ".json", ".jsonl", ".csv", ".txt"])
DOCUMENTS = frozenset(["readme", "license", "licence", "notice", "changelog", "citation", "thumbs", "desktop"])
DOCUMENT_SUFFIXES = frozenset([".md", ".html", ".pdf", ".rst"])


@dataclass(frozen=True)
class FolderTree:
    """Paths below the data folder, relative to it and sorted, without hidden ones.

    Attributes:
        images: those that can be training images.
        masks: of images that have some, the kind and the files.
        mask_files: all files that are masks, of an image or of none.
        masks_of_none: those of them that are of no image, or could be of several.
        annotation_files: those that may be some.
        folders: at any depth.
        others: files of no known use, but for documents.
        unnamed: images whose names are not UTF-8, which no table can hold.
    """

    images: list[PurePosixPath]
    masks: dict[PurePosixPath, tuple[MaskKind, list[PurePosixPath]]]
    mask_files: set[PurePosixPath]
    masks_of_none: list[PurePosixPath]
    annotation_files: list[PurePosixPath]
    folders: list[PurePosixPath]
    others: list[PurePosixPath]
    unnamed: list[PurePosixPath]

    @classmethod
    def walk(cls, root: Path) -> "FolderTree":
        images, annotation_files, all_folders, others, unnamed = [], [], [], [], []
        for parent, folders, files in walk(root):
            relative = PurePosixPath(parent.relative_to(root).as_posix())
            all_folders.extend(relative / name for name in folders)
            for file in (relative / name for name in files):
                suffix = file.suffix.lower()
                if suffix in IMAGE_SUFFIXES:
                    (images if is_utf8(file) else unnamed).append(file)
                elif file.name in METADATA_FILES:
                    annotation_files.append(file)
                elif (
                    suffix in DOCUMENT_SUFFIXES
                    or file.stem.lower() in DOCUMENTS
                    or file.name.lower() in (*NAME_LISTS, *NAME_YAMLS)
                ):
                    continue
                elif suffix in ANNOTATION_SUFFIXES:
                    annotation_files.append(file)
                else:
                    others.append(file)
        masks, mask_files, masks_of_none = find_masks(root, images)
        images = [image for image in images if image not in mask_files]
        in_annotation_folder = {
            image for image in images if any(part.lower() in ANNOTATION_FOLDERS[:2] for part in image.parts[:-1])
        }
        return cls(
            sorted(set(images) - in_annotation_folder),
            masks,
            mask_files,
            masks_of_none,
            sorted(annotation_files),
            sorted(all_folders),
            sorted([*others, *in_annotation_folder]),
            sorted(unnamed),
        )

    @cached_property
    def _subfolders(self) -> dict[PurePosixPath, list[PurePosixPath]]:
        children = defaultdict(list)
        for folder in self.folders:
            children[folder.parent].append(folder)
        return children

    @cached_property
    def _images_in(self) -> dict[PurePosixPath, list[PurePosixPath]]:
        in_folder = defaultdict(list)
        for image in self.images:
            in_folder[image.parent].append(image)
        return in_folder

    @cached_property
    def _populated(self) -> set[PurePosixPath]:
        return {folder for image in self.images for folder in image.parents}

    def subfolders(self, folder: PurePosixPath) -> list[PurePosixPath]:
        return self._subfolders.get(folder, [])

    def populated(self, folder: PurePosixPath) -> list[PurePosixPath]:
        """The subfolders that hold images, at any depth."""
        return [path for path in self.subfolders(folder) if path in self._populated]

    def loose(self, folder: PurePosixPath) -> list[PurePosixPath]:
        """The images in a folder itself."""
        return self._images_in.get(folder, [])

    def below(self, folder: PurePosixPath) -> list[PurePosixPath]:
        """The images in a folder, at any depth."""
        return [image for image in self.images if image.is_relative_to(folder)]

    def image_folder(self, folder: PurePosixPath) -> PurePosixPath:
        """The subfolder `images` or `JPEGImages` where `folder` keeps its images in one, else `folder`."""
        if self.loose(folder):
            return folder
        return next((path for path in self.populated(folder) if path.name.lower() in IMAGE_FOLDERS), folder)
