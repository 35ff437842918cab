"""The demo in a real browser, as a visitor meets it: one server and one Chromium for all tests, in their order."""

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from base64 import b64encode
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from model_mixin import tiny_model
from PIL import Image

from modeling_sat import SATForWeaklySupervisedLocalization, SATImageProcessor
from modeling_sat.models.image_conversion_sat import read_image


pytest.importorskip("gradio", reason="the demo needs Gradio")
webdriver = pytest.importorskip("selenium.webdriver", reason="a browser is driven by Selenium")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402


CHROMIUM, DRIVER = which("chromium") or which("google-chrome"), which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no Chromium with its chromedriver")

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo.py"
THRESHOLDS = (0.3, 0.5)
CHROMIUM_OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,900"
)


def wait_for(condition, seconds: float = 20):
    """What `condition` returns as soon as that is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the page did not do in time what it should"
        time.sleep(0.02)
    return value


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> list[Path]:
    folders = [tmp_path_factory.mktemp("checkpoints") / name for name in ("first", "second")]
    for seed, (folder, threshold) in enumerate(zip(folders, THRESHOLDS)):
        names = {index: f"<b>class</b> {index}" for index in range(5)}
        tiny_model(seed, image_size=64, id2label=names).save_pretrained(folder)
        size = {"height": 64, "width": 64}
        SATImageProcessor(size=size, localization_threshold=threshold).save_pretrained(folder)
    return folders


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    noise.resize((90, 120)).save(folder / "turned.jpg", exif=exif)
    noise.resize((120, 80)).convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray((np.arange(64 * 32) * 30).astype(np.uint16).reshape(32, 64)).save(folder / "grey16.png")
    noise.save(folder / "animated.gif", save_all=True, append_images=[Image.new("RGB", noise.size)])
    (folder / "notes.jpg").write_text("not a picture")
    (folder / "paper.pdf").write_bytes(b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n")
    (folder / "empty.png").touch()
    (folder / "huge.png").write_bytes(huge_png())
    with open(folder / "heavy.jpg", "wb") as heavy:
        heavy.truncate(20_000_001)
    return folder


def huge_png() -> bytes:
    """20,000 × 20,000 pixels that a hundred bytes promise."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class Demo:
    """The running script, with its address and the only folder for temporary files that it knows."""

    def __init__(self, checkpoints: list[Path], example: Path, folder: Path):
        self.temporary = folder
        command = [sys.executable, str(SCRIPT), "--model", *map(str, checkpoints), "--examples", str(example)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        first_line = self.process.stdout.readline()
        assert "The page is at http" in first_line, first_line
        self.address = first_line.split()[-1]

    def uploads(self) -> list[str]:
        """Files on the disk that are not the thumbnails of examples."""
        return [path.name for path in self.temporary.rglob("*") if path.is_file() and path.suffix != ".webp"]


@pytest.fixture(scope="module")
def demo(checkpoints, files, tmp_path_factory):
    demo = Demo(checkpoints, files / "cmyk.jpg", tmp_path_factory.mktemp("temporary"))
    yield demo
    demo.process.terminate()
    demo.process.wait(30)


@pytest.fixture(scope="module")
def browser(demo, tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in CHROMIUM_OPTIONS.split():
        options.add_argument(option)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('user')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    browser.get(demo.address)
    yield browser
    browser.quit()


class Page:
    """What a visitor does and sees."""

    def __init__(self, browser):
        self.browser = browser

    def find(self, selector: str):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.browser.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def choose(self, path: Path) -> str:
        """Chooses a file; the line that the page then says of it."""
        (chosen,) = wait_for(lambda: self.find("#upload input[type=file]"))
        chosen.send_keys(str(path))
        return wait_for(lambda: path.name in (line := self.text("#status")) and line)

    def rows(self, index: int = 0) -> list[list[str]]:
        """The cells of the table of boxes of a checkpoint."""
        return self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(row => [...row.cells].map(cell => cell.innerText))",
            f"#result-{index} tbody tr",
        )

    def sources(self) -> list[str]:
        script = "return [...document.querySelectorAll('[id^=result] img')].map(image => image.src)"
        return self.browser.execute_script(script)

    def set_slider(self, label: str, value: float, index: int = 0) -> None:
        slider = self.find(f"input[type=range][aria-label*='{label}']")[index]
        self.browser.execute_script(
            "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))",
            slider,
            value,
        )


@pytest.fixture
def page(browser) -> Page:
    return Page(browser)


def expected(checkpoint: Path, path: Path, threshold: float | None = None, multiple_objects: bool = False) -> dict:
    """What the processor finds: label, score and boxes, as a user of the checkpoint gets them."""
    model = SATForWeaklySupervisedLocalization.from_pretrained(checkpoint).eval()
    processor = SATImageProcessor.from_pretrained(checkpoint)
    image = read_image(path)
    with torch.inference_mode():
        outputs = model(**processor(images=image, return_tensors="pt"))
    size = [(image.height, image.width)]
    (found,) = processor.post_process_localization(outputs, threshold, size, multiple_objects=multiple_objects)
    return {
        "label": model.config.id2label[found["labels"][0].item()],
        "score": found["scores"][0].item(),
        "boxes": found["boxes"].tolist(),
    }


def as_rows(found: dict) -> list[list[str]]:
    boxes = (", ".join(f"{side:.0f}" for side in box) for box in found["boxes"])
    return [[found["label"], f"{found['score']:.2f}", box] for box in boxes]


def test_the_page_says_what_it_is_before_anything_is_done(page):
    wait_for(lambda: page.browser.title == page.text("h1") == "What is it, and where?")
    for index in (0, 1):
        wait_for(lambda index=index: page.text(f"#result-{index}") == "What the model finds appears here.")
    controls = "input[type=range], input[type=radio], input[type=checkbox], #upload button"
    wait_for(lambda: len(page.find(controls)) == 3 + 3 + 1 + 1)
    for control in page.find(controls):
        assert control.accessible_name


def test_a_photograph_gets_the_boxes_of_both_checkpoints(page, files, checkpoints):
    assert page.choose(files / "turned.jpg").startswith("turned.jpg, 120 × 90 pixels.")
    for index, checkpoint in enumerate(checkpoints):
        wait_for(lambda index=index: page.rows(index))
        assert page.rows(index) == as_rows(expected(checkpoint, files / "turned.jpg"))
    assert page.rows(0) != page.rows(1)
    first, second = page.find("[id^=result] img")
    assert first.location["y"] == second.location["y"] and first.location["x"] < second.location["x"]
    assert first.size["width"] > 200
    wait_for(lambda: page.browser.execute_script("return arguments[0].naturalWidth", first) == 384)


def test_settings_change_their_result(page, files, checkpoints):
    before = page.sources()
    at_threshold = as_rows(expected(checkpoints[0], files / "turned.jpg", 0.65))
    assert page.rows(0) != at_threshold
    page.set_slider("Threshold", 0.65)
    wait_for(lambda: page.rows(0) == at_threshold)
    assert page.rows(1) == as_rows(expected(checkpoints[1], files / "turned.jpg"))
    assert page.sources()[1] == before[1]

    (several,) = page.find("input[type=checkbox]")
    several.click()
    objects = as_rows(expected(checkpoints[0], files / "turned.jpg", 0.65, multiple_objects=True))
    assert len(objects) > 1
    wait_for(lambda: page.rows(0) == objects)

    for change in (
        lambda: page.set_slider("Opacity", 0.9),
        lambda: page.find("input[type=radio]")[1].click(),
        lambda: page.find("input[type=radio]")[2].click(),
    ):
        before = page.sources()
        change()
        wait_for(lambda before=before: not set(before) & set(page.sources()))
        assert page.rows(0) == objects


def test_the_keyboard_moves_a_slider(page):
    before = page.rows(1)
    slider = page.find("input[type=range][aria-label*='Threshold']")[1]
    slider.send_keys(Keys.END)
    wait_for(lambda: page.rows(1) != before)


def test_boxes_are_saved_to_files(page, files, checkpoints, tmp_path):
    found = expected(checkpoints[0], files / "turned.jpg", 0.65, multiple_objects=True)
    page.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for link in page.find("#result-0 a"):
        link.click()
    saved = [tmp_path / "turned.boxes.json", tmp_path / "turned.coco.json"]
    wait_for(lambda: all(file.exists() for file in saved))
    ours, coco = (json.loads(file.read_text()) for file in saved)
    assert (ours["image"], ours["width"], ours["height"]) == ("turned.jpg", 120, 90)
    assert [thing["label"] for thing in ours["objects"]] == [found["label"]] * len(found["boxes"])
    np.testing.assert_allclose([thing["score"] for thing in ours["objects"]], found["score"], atol=1e-5)
    np.testing.assert_allclose([thing["box"] for thing in ours["objects"]], found["boxes"], atol=1e-3)
    assert coco["images"] == [{"id": 1, "file_name": "turned.jpg", "width": 120, "height": 90}]
    for annotation, (left, top, right, bottom) in zip(coco["annotations"], found["boxes"], strict=True):
        assert annotation["bbox"] == pytest.approx([left, top, right - left, bottom - top], abs=1e-3)


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("notes.jpg", "cannot be read as a picture. Choose a JPEG"),
        ("paper.pdf", "cannot be read as a picture. Choose a JPEG"),
        ("empty.png", "is empty. Choose a file that holds a picture."),
        ("huge.png", "has more than 50 million pixels, which is the limit. Choose a smaller picture."),
    ],
)
def test_a_bad_file_gets_a_sentence_and_the_next_one_a_result(page, files, name, sentence):
    assert sentence in page.choose(files / name)
    assert page.find("#status [role=alert]") and not page.sources()
    page.choose(files / "cmyk.jpg")
    wait_for(lambda: len(page.sources()) == 2)
    assert not page.find("#status [role=alert]")


def test_a_heavy_file_is_not_even_sent(page, files):
    page.find("#upload input[type=file]")[0].send_keys(str(files / "heavy.jpg"))
    wait_for(lambda: "more than 20 MB" in page.text("#too-large"))
    assert page.find("#too-large")[0].is_displayed()
    page.choose(files / "grey16.png")
    assert not page.find("#too-large")[0].is_displayed()


def test_of_an_animation_the_first_frame_is_taken(page, files):
    assert "It has several frames; this is the first one." in page.choose(files / "animated.gif")


def test_a_picture_is_pasted_anywhere(page, files):
    page.browser.execute_script(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([bytes], "pasted.png", { type: "image/png" }));
        document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
        """,
        b64encode((files / "grey16.png").read_bytes()).decode(),
    )
    wait_for(lambda: page.text("#status").startswith("pasted.png, 64 × 32 pixels."))


def test_an_example_is_chosen(page):
    (example,) = page.find("#examples button.thumbnail-item")
    example.click()
    wait_for(lambda: page.text("#status").startswith("cmyk.jpg, 120 × 80 pixels."))


def test_a_narrow_screen_shows_everything_below_each_other(page):
    narrow = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    first, second = page.find("[id^=result] img")
    wait_for(lambda: first.location["x"] == second.location["x"])
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= 390
    page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_errors_and_no_request_to_another_host(page, demo):
    problems = [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not problems
    messages = (json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance"))
    requests = [message["params"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    urls = [urlsplit(request["request"]["url"]) for request in requests]
    assert {url.netloc for url in urls if url.scheme in ("http", "https", "ws", "wss")} == {
        urlsplit(demo.address).netloc
    }


def test_no_upload_is_left_and_the_end_leaves_nothing(demo):
    assert demo.process.poll() is None
    assert demo.uploads() == []
    demo.process.terminate()
    demo.process.wait(30)
    assert not [path for path in demo.temporary.rglob("*") if path.is_file() or path.match("modeling_sat-demo-*")]
