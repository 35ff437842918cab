import base64
import os
import tracemalloc
from io import BytesIO

import numpy as np
import pytest
from damaged_exif import (
    ORIENTATION,
    SHORT,
    TURN_RIGHT,
    TURNED,
    UPRIGHT,
    block,
    image_file,
    png_of_size,
    tiff_file,
)
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from modeling_sat.data.paths import IMAGE_SUFFIXES
from modeling_sat.models.image_arrays_sat import ImageError
from modeling_sat.models.image_conversion_sat import (
    IMAGE_FORMATS,
    PixelLimitError,
    decode_image,
    is_plain,
    open_image,
    read_image,
    to_upright_rgb,
)


def pixel(image: Image.Image) -> tuple[int, int, int]:
    converted = to_upright_rgb(image)
    assert converted.mode == "RGB"
    return converted.getpixel((0, 0))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LA", "PA", "RGBA", "I;16", "I", "F"])
def test_every_mode_becomes_rgb_of_the_same_size(mode):
    image = to_upright_rgb(Image.new(mode, (3, 2)))
    assert (image.mode, image.size) == ("RGB", (3, 2))


def test_16_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 257, 25700, 65535]], dtype=np.uint16)
    assert np.asarray(to_upright_rgb(Image.fromarray(values)))[0, :, 0].tolist() == [0, 1, 100, 255]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 1, 255], np.int32, [0, 1, 255]),
        ([0, 257, 65535], np.int32, [0, 1, 255]),
        ([-100, -60, 100], np.int32, [0, 51, 255]),
        ([0, 0.2, 1], np.float32, [0, 51, 255]),
        ([0, 51, 200], np.float32, [0, 51, 200]),
        ([0, 257, 60000], np.float32, [0, 1, 233]),
        ([-1, -0.2, 3], np.float32, [0, 51, 255]),
        ([np.nan, 0.2, 1], np.float32, [0, 51, 255]),
        ([7e5, 7e5, 7e5], np.float32, [0, 0, 0]),
    ],
)
def test_wide_grey_is_scaled_by_the_first_range_that_holds_it(values, dtype, expected):
    grey = np.asarray(to_upright_rgb(Image.fromarray(np.array([values], dtype=dtype))))[0, :, 0].tolist()
    assert grey == expected


def test_transparency_is_composited_on_white():
    assert pixel(Image.new("RGBA", (1, 1), (255, 0, 0, 0))) == (255, 255, 255)
    assert pixel(Image.new("RGBA", (1, 1), (0, 0, 0, 51))) == (204, 204, 204)  # 255 · (1 − 51/255)
    assert pixel(Image.new("LA", (1, 1), (0, 0))) == (255, 255, 255)


def test_transparent_palette_entry_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "palette.png", transparency=0)
    converted = to_upright_rgb(Image.open(tmp_path / "palette.png"))
    assert [converted.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (40, 50, 60)]


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (2, 1), "black")
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright: the left end comes on top
    image.save(tmp_path / "turned.png", exif=exif)
    upright = to_upright_rgb(Image.open(tmp_path / "turned.png"))
    assert upright.size == (1, 2)
    assert upright.getpixel((0, 0)) == (255, 255, 255)


def test_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (2, 2), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "animation.gif", save_all=True, append_images=frames[1:])
    assert pixel(Image.open(tmp_path / "animation.gif")) == (255, 0, 0)


WIDE = Image.linear_gradient("L").resize((40, 20)).convert("RGB")


def assert_has_nothing_left_to_turn(image: Image.Image) -> None:
    assert image.info == {} and not image.getexif()
    again = to_upright_rgb(ImageOps.exif_transpose(image))
    assert again.size == image.size and again.tobytes() == image.tobytes()


class TestDamagedMetadata:
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
    @pytest.mark.parametrize(
        ("exif", "size"),
        [(UPRIGHT[name], (40, 20)) for name in UPRIGHT] + [(TURNED[name], (20, 40)) for name in TURNED],
        ids=[*UPRIGHT, *TURNED],
    )
    def test_an_image_is_turned_by_what_can_be_read_of_it(self, tmp_path, exif, size, suffix):
        image = decode_image(image_file(tmp_path / f"image{suffix}", WIDE, exif))
        assert (image.mode, image.size) == ("RGB", size)
        assert_has_nothing_left_to_turn(image)

    @pytest.mark.parametrize(
        ("entry", "size"),
        [
            (TURN_RIGHT, (20, 40)),
            ((ORIENTATION, SHORT, 1, bytes(4)), (40, 20)),
            ((ORIENTATION, 2, 2, b"6\0\0\0"), (40, 20)),
            ((ORIENTATION, 99, 1, b"\6\0\0\0"), (40, 20)),
            ((0x8825, 2, 4, b"abc\0"), (40, 20)),
            ((0x8769, 4, 1, b"\xf0\xff\xff\xff"), (40, 20)),
        ],
    )
    def test_of_tiff(self, tmp_path, entry, size):
        file = tiff_file(tmp_path / "image.tif", WIDE, entry)
        image = decode_image(file)
        assert image.tobytes() == decode_image(file.read_bytes()).tobytes()
        assert image.size == size
        assert_has_nothing_left_to_turn(image)

    def test_asked_before_it_gives_the_same(self, tmp_path):
        opened = Image.open(image_file(tmp_path / "image.png", WIDE, UPRIGHT["noise"]))
        with pytest.raises(SyntaxError):
            opened.getexif()
        assert to_upright_rgb(opened).size == to_upright_rgb(opened).size == WIDE.size

    @pytest.mark.parametrize("name", ["text tag of a float", "short tag of bytes", "negative in a tag without sign"])
    def test_what_pillow_would_not_turn_is_not_plain(self, tmp_path, name):
        with open_image(image_file(tmp_path / "image.jpg", WIDE, TURNED[name])) as image:
            assert not is_plain(image)
        with open_image(image_file(tmp_path / "whole.jpg", WIDE, block(TURN_RIGHT))) as image:
            assert is_plain(image)

    def test_what_pillow_would_turn_twice_is_not_plain(self, tmp_path):
        WIDE.save(tmp_path / "image.png", pnginfo=xmp("<tiff:Orientation>6 </tiff:Orientation>"))
        with open_image(tmp_path / "image.png") as image:
            assert not is_plain(image)
        assert decode_image(tmp_path / "image.png").size == (20, 40)


def xmp(text: str) -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", text)
    return info


class TestFormats:
    @pytest.mark.parametrize(
        ("suffix", "kind"),
        [
            (".jpg", "JPEG"), (".jfif", "JPEG"), (".png", "PNG"), (".bmp", "BMP"), (".gif", "GIF"), (".webp", "WEBP"),
            (".tiff", "TIFF"), (".ppm", "PPM"), (".pgm", "PPM"), (".pbm", "PPM"), (".pnm", "PPM"), (".tga", "TGA"),
            (".jp2", "JPEG2000"), (".avif", "AVIF"), (".jpg", "MPO"), (".jpg", "PNG"),
        ],
    )  # fmt: skip
    def test_people_have(self, tmp_path, suffix, kind):
        Image.init()
        if kind not in Image.SAVE:
            pytest.skip(f"this Pillow has no {kind}")
        image = WIDE.convert({".pgm": "L", ".pbm": "1"}.get(suffix, "RGB"))
        image.save(tmp_path / f"image{suffix}", kind, **({"save_all": True} if kind == "MPO" else {}))
        assert decode_image(tmp_path / f"image{suffix}").size == (40, 20)

    def test_every_suffix_has_its_decoder(self):
        Image.init()
        extensions = Image.registered_extensions()
        assert {extensions[suffix] for suffix in IMAGE_SUFFIXES if suffix in extensions} <= set(IMAGE_FORMATS)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "it is PostScript"),
            (b"\xc5\xd0\xd3\xc6" + bytes(28), "it is PostScript"),
            (b"%PDF-1.7\n", "it is PDF"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "it is HTML, SVG or XML"),
            (b"\xd7\xcd\xc6\x9a" + bytes(60), "damaged or of another format"),
            (b"SIMPLE  =                    T", "damaged or of another format"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is HEIC or a film"),
            (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
            (b"", "it is empty"),
        ],
    )
    def test_no_other_program_is_started(self, tmp_path, monkeypatch, content, problem):
        def started(*arguments, **options):
            raise AssertionError("a program was started")

        monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", started)
        monkeypatch.setattr("subprocess.Popen", started)
        (tmp_path / "photo.jpg").write_bytes(content)
        for given in (tmp_path / "photo.jpg", content):
            with pytest.raises(ImageError, match=problem):
                decode_image(given)


class TestPixelLimit:
    @pytest.mark.parametrize("size", [(13_300, 13_300), (13_300, 9_100), (20_000, 20_000), (100_000, 100_000)])
    def test_is_said_before_anything_is_decoded(self, tmp_path, size):
        (tmp_path / "bomb.png").write_bytes(png_of_size(*size))
        for given in (tmp_path / "bomb.png", str(tmp_path / "bomb.png")):
            with pytest.raises(ValueError, match=r"bomb\.png .* the limit of 120 million; .* SAT_MAX_MEGAPIXELS"):
                read_image(given)
        with pytest.raises(PixelLimitError):
            open_image(png_of_size(*size))

    def test_is_that_of_the_environment(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
        monkeypatch.setenv("SAT_MAX_MEGAPIXELS", "400")
        assert open_image(png_of_size(20_000, 20_000)).size == (20_000, 20_000)
        monkeypatch.setenv("SAT_MAX_MEGAPIXELS", "0.0001")
        with pytest.raises(PixelLimitError, match=r"40×20 pixels are more than the limit of 0.0001 million"):
            open_image(png_of_size(40, 20))
        for wrong in ("many", "0", "-3", "nan", "inf"):
            monkeypatch.setenv("SAT_MAX_MEGAPIXELS", wrong)
            with pytest.raises(ImageError, match=f"SAT_MAX_MEGAPIXELS is '{wrong}'; a number"):
                open_image(png_of_size(40, 20))

    @pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
    def test_wide_grey_needs_little_more_than_its_own_memory(self, dtype):
        image = Image.fromarray(np.arange(3000 * 2000, dtype=dtype).reshape(2000, 3000))
        tracemalloc.start()
        to_upright_rgb(image)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 40e6  # three copies of 8 bytes a pixel are 144e6

    @pytest.mark.parametrize("mode", ["I;16", "I", "F", "RGBA", "LA"])
    def test_strips_cannot_be_seen(self, monkeypatch, mode):
        values = np.random.default_rng(0).integers(0, 65536, (30, 20), dtype=np.uint16)
        image = Image.fromarray(values)
        if mode in ("I", "F"):
            image = Image.fromarray(values.astype(np.int32 if mode == "I" else np.float32))
        elif mode != "I;16":
            image = Image.fromarray((values // 256).astype(np.uint8)).convert(mode)
            image.putalpha(Image.linear_gradient("L").resize(image.size))
        whole = to_upright_rgb(image)
        monkeypatch.setattr("modeling_sat.models.image_conversion_sat.STRIP", 50)
        assert to_upright_rgb(image).tobytes() == whole.tobytes()


def test_bytes_files_and_base64(tmp_path):
    WIDE.save(tmp_path / "image.png")
    content = (tmp_path / "image.png").read_bytes()
    text = base64.b64encode(content).decode()
    with open(tmp_path / "image.png", "rb") as file:
        for given in (content, bytearray(content), file, BytesIO(content), text, f"data:image/png;base64,{text}",
                      base64.encodebytes(content).decode(), base64.urlsafe_b64encode(content).decode().rstrip("="),
                      {"bytes": content, "path": None}, {"bytes": None, "path": str(tmp_path / "image.png")}):  # fmt: skip
            assert read_image(given).tobytes() == WIDE.tobytes()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("photographs/of/cats/and/dogs/number12", r"^photographs/of/cats/and/dogs/number12 is not there"),
        ("", "^An image with an empty path is not there"),
        ("A" * 5000, r"^A{100}… is not there"),
        (b"no image", r"The image cannot be read \(cannot identify it"),
        (None, r"The image is None. It is what cv2.imread gives"),
        ({"image": 1, "label": 2}, "of type dict with image, label, of which one alone may be the image"),
        (7, "of type int. Give an image of Pillow, a path"),
        ("http://[bad/x.jpg", r"http://\[bad/x.jpg cannot be read as an image \(Invalid IPv6 URL"),
        ("data:image/png;base64,AAAA", "cannot be read as an image"),
    ],
)
def test_what_holds_no_image_gets_a_sentence(given, sentence):
    with pytest.raises(ImageError, match=sentence):
        read_image(given)


class TestWhatIsNoFileOfOurs:
    def test_a_folder_and_a_pipe_called_jpg(self, tmp_path):
        (tmp_path / "folder.jpg").mkdir()
        os.mkfifo(tmp_path / "pipe.jpg")
        for name, kind in {"folder.jpg": "it is a folder", "pipe.jpg": "a pipe"}.items():
            with pytest.raises(ValueError, match=f"{name}.*{kind}"):
                read_image(tmp_path / name)

    def test_an_image_that_somebody_else_has_opened(self, tmp_path, monkeypatch):
        Image.new("L", (1200, 1000)).save(tmp_path / "a.png")
        monkeypatch.setenv("SAT_MAX_MEGAPIXELS", "1")
        with pytest.raises(ValueError, match="1200×1000 pixels are more than the limit of 1 million"):
            read_image(Image.open(tmp_path / "a.png"))
        decoded = Image.open(tmp_path / "a.png")
        decoded.load()
        assert read_image(decoded).size == (1200, 1000)  # its memory has been spent
        Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
        with pytest.raises(ValueError, match="its format EPS is not read"):
            read_image(Image.open(tmp_path / "a.eps"))
