"""The page: a picture goes in on the left, what each checkpoint finds in it comes out on the right."""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from gradio.data_classes import FileData
from PIL import ImageOps

from ..checkpoints import CheckpointError
from .html import EMPTY_RESULT, picture_html, result_html, status_html
from .looking import LAYERS, DemoModel, SeenPicture, Settings, look_at
from .pictures import MAX_MEGABYTES, Picture, PictureError, read_picture


TITLE = "What is it, and where?"
PROMISE = "Pictures are held in memory while you look at them, and never stored."
TOO_LARGE = f"The file has more than {MAX_MEGABYTES} MB, which is the limit. Choose a smaller one."
MINUTES_KEPT = 30
"""How long a picture stays in memory, its page open or closed."""

STYLE = """
.gradio-container { width: 100% !important; max-width: 1280px !important; margin: 0 auto !important; }
.html-container { padding: 0 !important; }
.block:has(#too-large[hidden]) { display: none; }
#examples .grid-wrap { height: auto; min-height: 0; max-height: none; overflow: visible; padding: 32px 8px 8px; }
#examples .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)); padding: 0; }
#examples .thumbnail-item { width: 100%; }
.picture img { width: 100%; height: auto; max-height: 55vh; object-fit: contain; border-radius: 8px; display: block; }
.picture .empty { border: 1px dashed var(--border-color-primary); border-radius: 8px; padding: 64px 16px;
  text-align: center; opacity: 0.75; margin: 0; }
[role=status], [role=alert] { margin: 0; overflow-wrap: anywhere; }
[role=alert] { color: #991b1b; background: #fee2e2; border-radius: 8px; padding: 8px 12px; }
.picture table { width: 100%; margin: 12px 0; border: none !important; border-collapse: collapse;
  font-variant-numeric: tabular-nums; }
.picture caption { text-align: left; font-size: 0.85em; opacity: 0.75; }
.picture tr { border: none !important; }
.picture th, .picture td { text-align: right; white-space: nowrap; padding: 4px 6px; border: none !important;
  border-bottom: 1px solid var(--border-color-primary) !important; }
.picture th:first-child, .picture td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.picture .files a { display: inline-block; margin: 0 8px 8px 0; padding: 6px 14px; border-radius: 8px;
  border: 1px solid var(--border-color-primary); text-decoration: none; }
"""

MAX_BYTES = MAX_MEGABYTES * 1_000_000
SCRIPT = """
<script>
for (const kind of ["change", "drop", "paste"]) {
  document.addEventListener(kind, (event) => {
    const file = (event.target.files ?? event.dataTransfer?.files ?? event.clipboardData?.files)?.[0];
    const chosen = document.querySelector("#upload input[type=file]");
    if (!file || !chosen) return;
    const tooLarge = file.size > MAX_BYTES;
    document.getElementById("too-large").hidden = !tooLarge;
    if (tooLarge || kind === "paste") {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
    if (!tooLarge && kind === "paste") {
      chosen.files = event.clipboardData.files;
      chosen.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }, true);
}
</script>
""".replace("MAX_BYTES", str(MAX_BYTES))
"""A picture may be pasted anywhere on the page, and a file that is too large is refused before it is sent."""


def build_page(models: Sequence[DemoModel], examples: Sequence[Picture] = ()) -> gr.Blocks:
    """The page for one or several checkpoints, each with a column of its own.

    Args:
        models: at least one.
        examples: pictures that a visitor may choose.
    """

    def look(picture):
        seen = look_at(picture, models)
        description = f"{seen.name}, {seen.size[1]:,} × {seen.size[0]:,} pixels. {seen.note}"
        return seen, status_html(description), picture_html(seen.image, seen.name)

    def refused(error):
        return None, status_html(str(error), is_refusal=True), "", *[EMPTY_RESULT] * len(models)

    def take(upload, *settings):
        try:
            seen, status, shown = look(read_picture(*upload))
        except (PictureError, CheckpointError) as error:
            return None, *refused(error)
        return None, seen, status, shown, *results(seen, *settings)

    def take_example(event: gr.SelectData, *settings):
        try:
            seen, status, shown = look(examples[event.index])
        except CheckpointError as error:
            return refused(error)
        return seen, status, shown, *results(seen, *settings)

    def redraw(seen, *settings):
        if seen is None:
            return status_html("There is no picture; choose one first."), *[EMPTY_RESULT] * len(models)
        return gr.skip(), *results(seen, *settings)

    def results(seen: SeenPicture, multiple_objects, layer, opacity, *thresholds):
        for model, outputs, threshold in zip(models, seen.outputs, thresholds):
            settings = Settings(threshold, multiple_objects, layer, opacity)
            yield result_html(*model.find(seen, outputs, settings), model.localizer.class_names)

    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(
            f"# {TITLE}\nGive a picture: the model names its main object and shows where it is. It has learned that "
            "from labelled pictures alone, without a single box."
        )
        seen = gr.State(time_to_live=60 * MINUTES_KEPT)
        with gr.Row():
            with gr.Column(min_width=300):
                upload = gr.File(label="Picture: drop, choose or paste it", elem_id="upload", height=170)
                # Not by a subclass: Gradio writes a stub file beside the source of every subclass.
                upload.preprocess = _take_from_disk
                gr.HTML(status_html(TOO_LARGE, is_refusal=True, id="too-large"))
                status = gr.HTML(status_html(PROMISE), elem_id="status")
                shown = gr.HTML(elem_classes="picture", elem_id="shown")
                if examples:
                    thumbnails = [(ImageOps.fit(picture.image, (160, 160)), None) for picture in examples]
                    gallery = gr.Gallery(
                        thumbnails,
                        label="Or one of these",
                        columns=4,
                        elem_id="examples",
                        allow_preview=False,
                        buttons=[],
                    )
            with gr.Column(scale=2, min_width=300):
                thresholds, found = [], []
                with gr.Row():
                    for index, model in enumerate(models):
                        with gr.Column(min_width=280):
                            gr.Markdown(f"### {model.name}")
                            found.append(gr.HTML(EMPTY_RESULT, elem_classes="picture", elem_id=f"result-{index}"))
                            calibrated = float(model.localizer.processor.localization_threshold)
                            label = f"Threshold (this checkpoint's own: {calibrated:.2f})"
                            thresholds.append(gr.Slider(0, 0.99, calibrated, step=0.01, label=label))
                with gr.Row():
                    layer = gr.Radio(LAYERS, value=LAYERS[0], label="Laid over the picture", min_width=280)
                    opacity = gr.Slider(0, 1, Settings.opacity, step=0.05, label="Opacity", min_width=280)
                several = gr.Checkbox(label="Several objects")

        settings = [several, layer, opacity, *thresholds]
        upload.upload(take, [upload, *settings], [upload, seen, status, shown, *found], show_progress="minimal")
        if examples:
            gallery.select(take_example, settings, [seen, status, shown, *found])
        gr.on(
            [setting.change for setting in settings],
            redraw,
            [seen, *settings],
            [status, *found],
            show_progress="hidden",
            trigger_mode="always_last",
        )
    return page


def _take_from_disk(payload: FileData | None) -> tuple[str, bytes] | None:
    """Name and content of an upload, whose file goes in the moment in which it is read."""
    if payload is None:
        return None
    path = Path(payload.path)
    try:
        content = path.read_bytes()
        path.unlink()
        path.parent.rmdir()  # named by Gradio after what was in the file
    except FileNotFoundError as error:  # somebody gave the same file at the same moment
        raise gr.Error("The picture did not arrive; choose it again.") from error
    return Path(payload.orig_name or path).name, content
