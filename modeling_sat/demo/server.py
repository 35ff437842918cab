"""Serves the page on this machine; nothing leaves it, and no upload stays."""

import os
import signal
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from .looking import DemoModel
from .page import MAX_BYTES, SCRIPT, STYLE, build_page
from .pictures import read_example


MAX_SESSIONS = 100
"""Pages open at once whose pictures are kept in memory, a few megabytes each; the oldest goes first."""
UPLOAD_SECONDS = 60
"""How long a file may lie on the disk between its arrival and its reading, which removes it."""


def serve(
    models: Sequence[str],
    examples: Sequence[str | Path] = (),
    port: int | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Opens the page for checkpoints and serves it until it is interrupted.

    Args:
        models: folders or Hub ids; with several, their results stand side by side.
        examples: picture files of this machine that a visitor may choose.
        port: default: the first free one from 7860.
        trust_remote_code: run code that comes with someone else's model.

    Raises:
        CheckpointError: a checkpoint cannot be used.
        PictureError: an example is not a picture.
        OSError: no port is free.
    """
    pictures = [read_example(path) for path in examples]
    loaded = [DemoModel.load(model, trust_remote_code) for model in models]
    # A service manager's end is a tidy one too: the temporary folder goes.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TemporaryDirectory(prefix="modeling_sat-demo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = build_page(loaded, pictures)
        thumbnails = set(Path(folder).rglob("*"))
        try:
            _, address, _ = page.launch(
                prevent_thread_lock=True,
                server_port=port,
                share=False,
                quiet=True,
                css=STYLE,
                head=SCRIPT,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                max_file_size=MAX_BYTES,
                state_session_capacity=MAX_SESSIONS,
            )
        except OSError as error:
            raise OSError(f"Port {port or 'from 7860 on'} is taken. Choose another one.") from error
        try:
            print(f"The page is at {address}", flush=True)
            while True:
                time.sleep(UPLOAD_SECONDS / 2)
                remove_old_files(Path(folder), UPLOAD_SECONDS, thumbnails)
        except KeyboardInterrupt:
            page.close()


def remove_old_files(folder: Path, seconds: float, kept: Collection[Path] = ()) -> None:
    """Removes what nobody has written to for so many seconds: uploads that broke off, or whose page was closed."""
    newest = time.time() - seconds
    for parent, folders, files in os.walk(folder, topdown=False):
        for path in (Path(parent, name) for name in (*files, *folders)):
            with suppress(OSError):  # it went in this moment, or is a folder that is not empty
                if path not in kept and path.stat().st_mtime < newest:
                    path.rmdir() if path.is_dir() else path.unlink()
