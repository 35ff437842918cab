import os
import shutil

import pytest
from PIL import Image

from modeling_sat.labelling.image_files import ImageFiles, PredictionError


@pytest.fixture
def photographs(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    return tmp_path


def test_files_that_are_passed_over_are_named_once(photographs, caplog):
    for name in ("b.HEIC", "c.heic", "d.CR2", "notes.txt", "a.xml", "LICENSE", ".hidden.heic"):
        (photographs / name).touch()
    assert len(ImageFiles.find([photographs, photographs / "a.png"]).paths) == 1
    [record] = caplog.records
    assert "3 files: 2 .heic" in record.getMessage()
    assert "1 .cr2" in record.getMessage()


def test_nothing_is_said_of_images_alone(photographs, caplog):
    ImageFiles.find([photographs])
    assert not caplog.records


def test_files_without_an_image(tmp_path, caplog):
    (tmp_path / "a.heic").touch()
    with pytest.raises(PredictionError, match=r"There are no image files .* holds a.heic"):
        ImageFiles.find([tmp_path])
    assert "1 file: 1 .heic" in caplog.text


def test_links_that_lead_back(photographs, caplog):
    (photographs / "deep").mkdir()
    (photographs / "deep/back").symlink_to("..")
    assert len(ImageFiles.find([photographs]).paths) == 1
    assert "lead back to a folder" in caplog.text


def test_names_that_are_not_utf8(photographs, caplog):
    shutil.copy(photographs / "a.png", os.fsencode(photographs) + b"/caf\xe9.png")
    assert len(ImageFiles.find([photographs]).paths) == 1
    assert r"caf\xe9.png" in caplog.text
