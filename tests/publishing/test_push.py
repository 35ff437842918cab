"""Publishing to a Hub on loopback, by huggingface_hub's own client."""

import json
import os
import time

import pytest
from hub_server import NOT_PUBLISHED
from huggingface_hub import HfApi, ModelCard, constants
from model_mixin import tiny_model

from modeling_sat.publishing import CardSettings, PublishingError, publish_checkpoint


NAME = "someone/sat-tiny"


def test_one_commit_holds_the_checkpoint_and_nothing_else(hub, shared_checkpoint, evaluation):
    address = publish_checkpoint(shared_checkpoint, NAME, card=CardSettings([evaluation]))
    assert address == f"{hub.endpoint}/{NAME}"
    assert hub.messages(NAME) == ["initial commit", "Publish a checkpoint"]
    files = hub.files(NAME)
    code = {path.name for kind in ("sat", "wsol", "conformer") for path in shared_checkpoint.glob(f"*_{kind}.py")}
    assert "multiscale_sat.py" in code
    expected = {"config.json", "preprocessor_config.json", "model.safetensors", "README.md", "maps.jpg", *code}
    assert set(files) - {".gitattributes"} == expected
    for name in ("config.json", "preprocessor_config.json", "model.safetensors", *code):
        assert files[name] == (shared_checkpoint / name).read_bytes()
    assert not set(NOT_PUBLISHED) & set(files)
    card = ModelCard(files["README.md"].decode())
    assert f'model="{NAME}"' in card.text
    assert {result.metric_type: result.metric_value for result in card.data.eval_results}["gt_known_loc"] == 0.9612


def test_again_is_a_second_commit_only_where_something_changed(hub, checkpoint):
    publish_checkpoint(checkpoint, NAME)
    publish_checkpoint(checkpoint, NAME)
    assert len(hub.messages(NAME)) == 2
    tiny_model(seed=1).save_pretrained(checkpoint)
    publish_checkpoint(checkpoint, NAME, commit_message="Better")
    assert hub.messages(NAME)[2:] == ["Better"]
    assert hub.files(NAME)["model.safetensors"] == (checkpoint / "model.safetensors").read_bytes()


def test_weights_of_an_earlier_version_go(hub, checkpoint):
    publish_checkpoint(checkpoint, NAME)
    (checkpoint / "model.safetensors").unlink()
    tiny_model().save_pretrained(checkpoint, max_shard_size="40KB")
    shards = {path.name for path in checkpoint.glob("model-*.safetensors")}
    assert len(shards) > 1
    publish_checkpoint(checkpoint, NAME)
    weights = {name for name in hub.files(NAME) if name.startswith("model.") or name.startswith("model-")}
    assert weights == {"model.safetensors.index.json", *shards}  # transformers would have taken model.safetensors


def test_a_name_without_owner_is_the_tokens_owners(hub, shared_checkpoint):
    assert publish_checkpoint(shared_checkpoint, "sat-tiny").endswith(f"/{NAME}")
    assert f'model="{NAME}"' in hub.files(NAME)["README.md"].decode()


def test_private_and_branch(hub, shared_checkpoint):
    address = publish_checkpoint(shared_checkpoint, NAME, private=True, revision="v2")
    assert hub.repositories["model", NAME].private
    assert address.endswith(f"/{NAME}/tree/v2")
    assert "model.safetensors" in hub.files(NAME, "v2") and "model.safetensors" not in hub.files(NAME)
    assert f'model="{NAME}", revision="v2"' in hub.files(NAME, "v2")["README.md"].decode()
    publish_checkpoint(shared_checkpoint, NAME, revision="v2")  # the branch is there now
    assert HfApi().model_info(NAME, revision="v2").private


def refused(*arguments, **settings) -> str:
    with pytest.raises(PublishingError) as error:
        publish_checkpoint(*arguments, **settings)
    return str(error.value)


class TestRefusals:
    def test_no_token(self, hub, shared_checkpoint, monkeypatch):
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", "/nowhere/token")
        assert "there is no token for the Hub. Make one" in refused(shared_checkpoint, NAME)

    def test_wrong_token(self, hub, shared_checkpoint):
        said = refused(shared_checkpoint, NAME, token="hf_wrong")
        assert "the Hub does not accept the token" in said

    def test_a_token_that_may_only_read(self, hub, shared_checkpoint):
        assert "The token of someone may only read" in refused(shared_checkpoint, NAME, token="hf_read")

    @pytest.mark.parametrize("is_there", [False, True])
    def test_somebody_elses_name(self, hub, shared_checkpoint, is_there):
        if is_there:
            hub.add("another/sat", {"config.json": b'{"model_type": "sat"}'})
        assert "the token's owner may not write there" in refused(shared_checkpoint, "another/sat")

    @pytest.mark.parametrize("name", ["a/b/c", "some one/sat", "someone/-sat", "someone/sat..tiny", "https://hub/a"])
    def test_no_name(self, hub, shared_checkpoint, name):
        assert "is not a name on the Hub; give owner/name" in refused(shared_checkpoint, name)
        assert hub.requests == []

    @pytest.mark.parametrize("kind", ["dataset", "space"])
    def test_the_name_of_something_else(self, hub, shared_checkpoint, kind):
        hub.add(NAME, kind=kind)
        assert f"{NAME} is the name of a {kind}" in refused(shared_checkpoint, NAME)
        publish_checkpoint(shared_checkpoint, NAME, replace=True)

    @pytest.mark.parametrize(
        ("files", "what"),
        [
            ({"config.json": b'{"model_type": "bert"}'}, "model of type 'bert'"),
            ({"a.gguf": b""}, "something else (a.gguf)"),
        ],
    )
    def test_another_model(self, hub, shared_checkpoint, files, what):
        hub.add(NAME, files)
        assert what in refused(shared_checkpoint, NAME)
        assert len(hub.messages(NAME)) == 1
        publish_checkpoint(shared_checkpoint, NAME, replace=True)
        assert "model.safetensors" in hub.files(NAME)

    def test_private_where_it_would_be_public(self, hub, shared_checkpoint):
        hub.add(NAME)
        assert "exists and is public" in refused(shared_checkpoint, NAME, private=True)

    def test_a_private_one_of_somebody_else(self, hub, shared_checkpoint):
        hub.add("another/sat", private=True)
        assert "the token's owner may not write there" in refused(shared_checkpoint, "another/sat")

    @pytest.mark.parametrize(
        ("status", "said"), [(409, "something else under that name"), (402, "plan"), (413, "max_shard_size")]
    )
    def test_other_answers(self, hub, shared_checkpoint, status, said):
        hub.status_of["/repos/create"] = status
        assert said in refused(shared_checkpoint, NAME)

    def test_offline(self, hub, shared_checkpoint, monkeypatch):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert "HF_HUB_OFFLINE is set" in refused(shared_checkpoint, NAME)


class TestFolders:
    """Refused before anything is asked of the Hub."""

    @pytest.fixture(autouse=True)
    def nothing_is_sent(self, hub):
        yield
        assert hub.requests == []

    def test_no_folder(self, tmp_path):
        assert "is not a folder" in refused(tmp_path / "nowhere", NAME)

    def test_no_checkpoint(self, tmp_path):
        (tmp_path / "checkpoint-20").mkdir()
        said = refused(tmp_path, NAME)
        assert "it holds checkpoint-20/. Its checkpoint-20 may be what you mean." in said

    def test_another_model(self, checkpoint):
        (checkpoint / "config.json").write_text('{"model_type": "resnet"}')
        assert "holds a model of type 'resnet'; 'sat', 'wsol_cam'" in refused(checkpoint, NAME)

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("preprocessor_config.json", "has no preprocessor_config.json"),
            ("model.safetensors", "has no model.safetensors"),
            ("pipeline_sat.py", "lacks pipeline_sat.py, which its code needs"),
            ("localization_sat.py", "lacks localization_sat.py, which its code needs"),
        ],
    )
    def test_a_file_is_missing(self, checkpoint, name, said):
        (checkpoint / name).unlink()
        assert said in refused(checkpoint, NAME)

    def test_cut_off_weights(self, checkpoint):
        os.truncate(checkpoint / "model.safetensors", 1000)
        assert "it may have been cut off" in refused(checkpoint, NAME)

    def test_a_part_of_the_weights_is_missing(self, checkpoint):
        (checkpoint / "model.safetensors").unlink()
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
        (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
        assert "lacks parts of its weights: model-00001-of-00002.safetensors" in refused(checkpoint, NAME)

    def test_too_large(self, checkpoint):
        os.truncate(checkpoint / "model.safetensors", 51 * 10**9)  # a hole on the disk
        assert "has 51 GB, more than the 50 GB" in refused(checkpoint, NAME)

    def test_a_config_that_is_no_json(self, checkpoint):
        (checkpoint / "config.json").write_text("{")
        assert "config.json cannot be read" in refused(checkpoint, NAME)


class TestNetwork:
    @pytest.fixture(autouse=True)
    def without_pauses(self, monkeypatch):
        monkeypatch.setattr(time, "sleep", lambda seconds: None)

    def test_drops_in_mid_upload_are_tried_again(self, hub, shared_checkpoint):
        hub.uploads_to_drop = 3
        publish_checkpoint(shared_checkpoint, NAME)
        assert hub.uploads_to_drop == 0
        assert hub.files(NAME)["model.safetensors"] == (shared_checkpoint / "model.safetensors").read_bytes()

    def test_longer_than_the_client_tries(self, hub, shared_checkpoint):
        hub.uploads_to_drop = 8
        with pytest.warns(UserWarning, match=r"the connection to the Hub failed .* Trying again"):
            publish_checkpoint(shared_checkpoint, NAME)
        assert len(hub.messages(NAME)) == 2

    def test_for_good(self, hub, checkpoint):
        publish_checkpoint(checkpoint, NAME)
        before = hub.files(NAME)
        tiny_model(seed=1).save_pretrained(checkpoint)
        hub.uploads_to_drop = 10**6
        with pytest.warns(UserWarning):
            said = refused(checkpoint, NAME)
        assert "the connection to the Hub failed" in said and "It was tried 3 times. Nothing of it can be seen" in said
        assert hub.files(NAME) == before and len(hub.messages(NAME)) == 2

    def test_a_commit_whose_answer_is_lost(self, hub, shared_checkpoint):
        hub.commits_to_drop = 1
        with pytest.warns(UserWarning, match="Trying again"):
            publish_checkpoint(shared_checkpoint, NAME)
        assert len(hub.messages(NAME)) == 2

    def test_an_overloaded_hub(self, hub, shared_checkpoint):
        hub.status_of["/commit/main"] = 503
        with pytest.warns(UserWarning, match="status 503"):
            assert "It was tried 3 times" in refused(shared_checkpoint, NAME)

    def test_a_refused_commit_is_not_tried_again(self, hub, shared_checkpoint):
        hub.status_of["/commit/main"] = 403
        assert "may not write there" in refused(shared_checkpoint, NAME)
        assert sum(path.endswith("/commit/main") for _, path in hub.requests) == 1


def test_save_pretrained_pushes_the_code_too(hub, tmp_path):
    tiny_model().save_pretrained(tmp_path / "model", push_to_hub=True, repo_id=NAME, private=True)
    files = hub.files(NAME)
    assert {"config.json", "model.safetensors", "pipeline_sat.py", "multiscale_sat.py"} <= set(files)
    assert hub.repositories["model", NAME].private
