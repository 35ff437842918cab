import errno
import multiprocessing
import os
import signal
import time

import pytest
from filelock import FileLock

from modeling_sat.output.ownership import LOCK_FILE, FolderInUseError, folder_of_one_run


FORK = multiprocessing.get_context("fork")


def hold(folder, taken):
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with folder_of_one_run(folder):
        taken.set()
        time.sleep(60)


@pytest.fixture
def another_run(tmp_path):
    """A process that is at work in tmp_path."""
    taken = FORK.Event()
    process = FORK.Process(target=hold, args=(tmp_path, taken))
    process.start()
    assert taken.wait(20)
    yield process
    process.kill()
    process.join()


def test_the_second_run_is_refused(another_run, tmp_path):
    for folder in (tmp_path, str(tmp_path), tmp_path / "." / ".." / tmp_path.name):
        sentence = r"Another run is writing to .* one run at a time\. Wait for its end"
        with pytest.raises(FolderInUseError, match=sentence), folder_of_one_run(folder):
            pass


def test_a_link_to_the_folder_is_the_folder(another_run, tmp_path, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(FolderInUseError), folder_of_one_run(link):
        pass


def test_another_folder_is_free(another_run, tmp_path):
    with folder_of_one_run(tmp_path / "inner"):
        pass


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_died_leaves_the_folder_free(another_run, tmp_path, number):
    os.kill(another_run.pid, number)
    another_run.join()
    with folder_of_one_run(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_what_a_run_leaves_behind(tmp_path):
    with folder_of_one_run(tmp_path / "new" / "folder"):
        assert (tmp_path / "new" / "folder" / LOCK_FILE).exists()
    assert not list((tmp_path / "new" / "folder").iterdir())


def test_a_failure_in_the_run_frees_the_folder(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), folder_of_one_run(tmp_path):
            raise KeyboardInterrupt


def test_the_same_process_is_another_run_too(tmp_path):
    with folder_of_one_run(tmp_path):
        with pytest.raises(FolderInUseError), folder_of_one_run(tmp_path):
            pass
        with pytest.raises(FolderInUseError), folder_of_one_run(tmp_path):  # the refusal has freed nothing
            pass


def forked_worker(stop):
    stop.wait(60)


def test_a_worker_that_outlives_its_run_holds_nothing(tmp_path):
    stop = FORK.Event()
    with folder_of_one_run(tmp_path):
        worker = FORK.Process(target=forked_worker, args=(stop,))
        worker.start()
    with folder_of_one_run(tmp_path):
        pass
    stop.set()
    worker.join()


def test_a_folder_that_was_removed_in_between(tmp_path):
    folder = tmp_path / "folder"
    with folder_of_one_run(folder):
        (folder / LOCK_FILE).unlink()
        folder.rmdir()


def failing_lock(monkeypatch, number):
    def acquire(self, *_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", acquire)


def test_a_file_system_without_locks_is_said(monkeypatch, tmp_path):
    failing_lock(monkeypatch, errno.ENOLCK)
    with (
        pytest.warns(UserWarning, match="does not support locks .* make sure that no other run"),
        folder_of_one_run(tmp_path),
    ):
        pass


def test_a_lock_that_may_not_be_taken_is_said(monkeypatch, tmp_path):
    failing_lock(monkeypatch, errno.EACCES)
    with pytest.raises(FolderInUseError, match=r"cannot be locked \(Permission denied\)"), folder_of_one_run(tmp_path):
        pass
