"""train.py --push_to_hub, and scripts/push_to_hub.py after it."""

import json
import os
import runpy
import sys

import pytest
from hub_server import HubServer
from huggingface_hub import ModelCard, constants
from training.launching import TINY, TRAIN, refused, train, trained


PUSH = TRAIN.with_name("push_to_hub.py")
NAME = "someone/sat-shapes"
SHORT = [*TINY, "--per_device_train_batch_size", 8, "--max_steps", 2, "--save_strategy", "steps", "--save_steps", 1,
         "--eval_strategy", "steps", "--eval_steps", 2]  # fmt: skip
PUBLISHED = {
    ".gitattributes", "README.md", "class_names_sat.py", "config.json", "configuration_sat.py", "image_arrays_sat.py",
    "image_conversion_sat.py",
    "image_processing_sat.py", "loading_wsol.py", "localization_sat.py", "maps.jpg", "model.safetensors", "modeling_sat.py", "pipeline_sat.py",
    "preprocessor_config.json", "multiscale_sat.py", "attention_wsol.py", "backbone_wsol.py", "configuration_conformer.py", "modeling_conformer.py", "configuration_wsol.py",
    "losses_wsol.py", "modeling_wsol.py",
}  # fmt: skip


@pytest.fixture
def server():
    with HubServer() as hub:
        yield hub


def online():
    """huggingface_hub was imported before this process had its own environment."""
    constants.ENDPOINT = os.environ["HF_ENDPOINT"]
    constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_XET = False, True


def pushing(hub, token="hf_write", **more):
    return {"before": online, "environment": {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": token, **more}}


def test_one_commit_at_the_end(server, tmp_path):
    output = trained(
        *SHORT, "--output_dir", tmp_path / "run", "--push_to_hub", "true", "--hub_model_id", NAME,
        "--hub_private_repo", "true", "--hub_revision", "tiny", **pushing(server),
    )  # fmt: skip
    assert f"Published: {server.endpoint}/{NAME}/tree/tiny" in output
    assert server.messages(NAME, "tiny") == ["initial commit", "End of training"]
    assert server.messages(NAME) == ["initial commit"]
    assert server.repositories["model", NAME].private
    files = server.files(NAME, "tiny")
    assert set(files) == PUBLISHED
    for name in ("model.safetensors", "config.json", "preprocessor_config.json"):
        assert files[name] == (tmp_path / "run" / name).read_bytes()

    text = files["README.md"].decode()
    assert f'model="{NAME}", revision="tiny"' in text
    assert "37 labelled images of `shapes`" in text and "It started from random weights." in text
    assert "2 steps" in text and "cores of a CPU" in text and str(tmp_path) not in text
    session = json.loads((tmp_path / "run" / "run.json").read_text())["session"]
    assert session["seconds"] > 0 and session["from_step"] == 0 and session["hub"] == {}
    assert ModelCard.load(tmp_path / "run" / "README.md").data.library_name == "transformers"


@pytest.mark.parametrize(
    ("token", "options", "said"),
    [
        ("hf_wrong", [], "the Hub does not accept the token"),
        ("hf_other", [], "may not write there"),
        ("hf_write", ["--hub_strategy", "every_save"], "hub_strategy is every_save"),
        ("hf_write", ["--hub_model_id", "a/b/c"], "is not a name on the Hub"),
    ],
)
def test_what_cannot_be_published_is_not_trained(server, tmp_path, token, options, said):
    arguments = [*SHORT, "--output_dir", tmp_path, "--push_to_hub", "true", "--hub_model_id", NAME, *options]
    if "cam" in options:
        at = arguments.index("--num_spatial_layers")
        del arguments[at : at + 2]
    output = refused(*arguments, **pushing(server, token))
    assert said in output
    assert not list(tmp_path.glob("checkpoint-*"))
    assert server.repositories == {}


def test_the_hub_is_gone_at_the_end(server, tmp_path, capsys, monkeypatch):
    server.status_of["/commit/main"] = 403
    run = tmp_path / "run"
    finished = train(*SHORT, "--output_dir", run, "--push_to_hub", "true", "--hub_model_id", NAME, **pushing(server))
    assert finished.exit_codes == [1] and "Traceback" not in finished.output
    command = f"python scripts/push_to_hub.py --model {run} --repo_id {NAME}"
    assert f"error: {run} is not published as {NAME}" in finished.output and command in finished.output

    server.status_of.clear()
    for name, value in {"ENDPOINT": server.endpoint, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    monkeypatch.setattr(sys, "argv", command.split()[1:])
    runpy.run_path(str(PUSH), run_name="__main__")
    assert capsys.readouterr().out.endswith(f"Published: {server.endpoint}/{NAME}\n")
    assert set(server.files(NAME)) == PUBLISHED

    monkeypatch.setattr(sys, "argv", ["push_to_hub.py", "--model", str(tmp_path / "none"), "--repo_id", NAME])
    with pytest.raises(SystemExit, match=r"^error: .*none is not a folder"):
        runpy.run_path(str(PUSH), run_name="__main__")
    monkeypatch.setattr(sys, "argv", [*command.split()[1:], "--card_only", str(tmp_path / "card.md")])
    sent = len(server.requests)
    runpy.run_path(str(PUSH), run_name="__main__")
    assert (tmp_path / "card.md").is_file() and len(server.requests) == sent
