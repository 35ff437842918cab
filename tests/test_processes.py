"""Scripts under a launcher: their processes work together, one of them works, or a sentence says why they cannot."""

import os
import runpy
import sys
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState

from modeling_sat.processes import (
    ProcessError,
    check_processes,
    continues_alone,
    is_first,
    start_accelerator,
    started_processes,
)


SCRIPTS = Path(__file__).parents[1] / "scripts"
TORCHRUN = {
    "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29511", "GROUP_RANK": "0", "ROLE_RANK": "1", "TORCHELASTIC_RUN_ID": "none",
}  # fmt: skip
"""What torchrun and, of a configuration that asks for two GPUs, `accelerate launch` set for the second process."""
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}
INTEL_MPI = {"PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALNRANKS": "2"}
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def environment(monkeypatch):
    """Sets variables for one test, in which accelerate begins anew."""

    def reset():
        PartialState._reset_state()
        AcceleratorState._reset_state()

    saved = dict(os.environ)
    reset()
    yield os.environ.update
    reset()
    os.environ.clear()
    os.environ.update(saved)


def script(name: str, *arguments, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")


@pytest.mark.parametrize("launcher", [TORCHRUN, MPIRUN, INTEL_MPI])
def test_one_process_of_a_launcher_goes_on_alone(environment, launcher):
    environment(launcher)
    assert started_processes() == 2
    assert not continues_alone()
    environment({name: "0" if name.endswith("RANK") else value for name, value in launcher.items()})
    assert continues_alone()
    left = [name for name in launcher if name in os.environ]
    assert not left  # what it starts is not to wait for the others
    assert started_processes() == 1 and is_first()


def test_the_first_process_of_the_second_machine_ends_too(environment):
    environment(TORCHRUN | {"RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "4"})
    assert not continues_alone()


def test_without_a_launcher(environment):
    assert started_processes() == 1 and continues_alone() and is_first()


ALONE = ["export_onnx", "prepare_dataset", "convert_checkpoint", "push_to_hub", "reproduce", "report", "demo"]


@pytest.mark.parametrize("name", ALONE)
def test_a_script_of_one_process_works_in_the_first_alone(environment, monkeypatch, capsys, name):
    if name == "demo":
        pytest.importorskip("gradio")
    environment(TORCHRUN)
    script(name, "--of no use", monkeypatch=monkeypatch)
    assert capsys.readouterr() == ("", "")
    environment(TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0"})
    with pytest.raises(SystemExit, match="0"):
        script(name, "--help", monkeypatch=monkeypatch)
    assert "WORLD_SIZE" not in os.environ


def test_processes_that_do_not_know_of_each_other_are_refused(environment):
    environment(TORCHRUN)
    with pytest.raises(
        ProcessError, match=r"2 processes were started, and they do not know of each other\. Start one"
    ):
        check_processes(1, CPU)
    check_processes(2, CPU)


@pytest.mark.parametrize(("gpus", "message"), [(1, "shows 1 GPU, "), (0, "shows 0 GPUs, ")])
def test_processes_do_not_share_a_gpu(environment, monkeypatch, gpus, message):
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: gpus)
    environment(TORCHRUN)
    with pytest.raises(ProcessError, match=f"2 processes were started on a machine that {message}and each needs one"):
        check_processes(2, GPU)


def test_processes_on_several_machines_have_their_own_gpus(environment, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    environment(TORCHRUN | {"LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"})
    check_processes(2, GPU)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "MASTER_ADDR"),
        ({"WORLD_SIZE": "two"}, "invalid literal"),
        ({"LOCAL_RANK": "first"}, "invalid literal"),
    ],
)
def test_what_a_launcher_asks_for_in_vain_is_said(environment, variables, reason):
    environment(variables)
    with pytest.raises(ProcessError, match=f"does not have what accelerate's configuration .* asks for: .*{reason}"):
        start_accelerator()


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_the_scripts_say_it(environment, monkeypatch, tmp_path, name):
    environment({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"})
    (tmp_path / "a.png").touch()
    given = {"predict": ["--images", tmp_path / "a.png"], "evaluate": ["--dataset", "shapes"]}[name]
    with pytest.raises(SystemExit, match=r"^error: .*MASTER_ADDR"):
        script(name, "--model", "x", "--output_dir", tmp_path / "out", *given, monkeypatch=monkeypatch)


def test_an_accelerator_of_this_machine(environment):
    accelerator = start_accelerator()
    assert accelerator.num_processes == 1
    assert (accelerator.device.type == "cpu") == (not torch.accelerator.is_available())
