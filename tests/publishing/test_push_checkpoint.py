"""Publishing to a Hub on loopback, through huggingface_hub's own client."""

import json
import shutil

import pytest
from huggingface_hub import HfApi
from model_mixin import tiny_model

from modeling_sat.publishing import CardSettings, PublishingError, push, push_checkpoint


CODE = {
    "configuration_sat.py", "image_conversion_sat.py", "image_processing_sat.py", "localization_sat.py",
    "modeling_sat.py", "pipeline_sat.py", "quality_sat.py",
}  # fmt: skip
FILES = CODE | {
    "config.json", "model.safetensors", "preprocessor_config.json", "README.md", "maps.jpg", ".gitattributes"
}  # fmt: skip
REPOSITORY = "someone/sat-tiny"


def test_everything_in_one_commit_and_nothing_else(hub, checkpoint):
    address = push_checkpoint(checkpoint, REPOSITORY)
    assert set(hub.files(REPOSITORY)) == FILES
    _, commit = hub.model(REPOSITORY).branches["main"]
    assert commit.title == "SAT checkpoint" and address.endswith(commit.sha)
    assert commit.files["model.safetensors"] == (checkpoint / "model.safetensors").read_bytes()
    assert json.loads(commit.files["preprocessor_config.json"])["localization_threshold"] == 0.55


def test_a_name_alone_is_the_users_own(hub, checkpoint):
    push_checkpoint(checkpoint, "sat-tiny")
    assert set(hub.files(REPOSITORY)) == FILES


def test_private_branch_and_message(hub, checkpoint):
    push_checkpoint(checkpoint, REPOSITORY, private=True, revision="half", commit_message="Half way")
    repository = hub.model(REPOSITORY)
    assert repository.private
    assert set(repository.find("main").files) == {".gitattributes"}
    assert repository.find("half").title == "Half way" and set(repository.find("half").files) == FILES
    assert b', revision="half"' in repository.find("half").files["README.md"]


def test_a_newer_version_replaces_the_older_one(hub, checkpoint, tmp_path):
    push_checkpoint(checkpoint, REPOSITORY)
    newer = shutil.copytree(checkpoint, tmp_path / "sat-tiny")
    tiny_model(num_hidden_layers=3).save_pretrained(newer, max_shard_size="20KB")
    (newer / "model.safetensors").unlink()
    push_checkpoint(newer, REPOSITORY)
    weights = {name for name in hub.files(REPOSITORY) if name.endswith(".safetensors")}
    assert len(weights) > 1 and "model.safetensors" not in weights
    assert len(hub.model(REPOSITORY).branches["main"]) == 3


def test_by_save_pretrained_and_by_the_models_own_method(hub, tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "sat-a", push_to_hub=True, repo_id="someone/sat-a", private=True)
    model.push_to_hub("someone/sat-b")
    for name in ("someone/sat-a", "someone/sat-b"):
        assert set(hub.files(name)) >= CODE | {"config.json", "model.safetensors"}
    assert hub.model("someone/sat-a").private and not hub.model("someone/sat-b").private


class TestWhatIsRefused:
    @pytest.fixture(autouse=True)
    def nothing_is_published(self, hub):
        yield
        for repository in hub.repositories.values():
            assert "model.safetensors" not in repository.find("main").files

    def test_no_token(self, hub, checkpoint, monkeypatch):
        monkeypatch.delenv("HF_TOKEN")
        with pytest.raises(PublishingError, match=r"there is no token for the Hub\. Make one with write permission"):
            push_checkpoint(checkpoint, REPOSITORY)

    def test_a_wrong_token(self, hub, checkpoint):
        with pytest.raises(PublishingError, match="the Hub does not accept the token"):
            push_checkpoint(checkpoint, REPOSITORY, token="hf_wrong")

    def test_a_token_that_may_only_read(self, hub, checkpoint):
        hub.read_only = True
        with pytest.raises(PublishingError, match=r"The token of someone may only read"):
            push_checkpoint(checkpoint, REPOSITORY)

    @pytest.mark.parametrize("exists", [False, True])
    def test_someone_elses_name(self, hub, checkpoint, exists):
        if exists:
            hub.create("model", "stranger/sat").commit("main", "theirs", {"config.json": b'{"model_type": "sat"}'})
        with pytest.raises(PublishingError, match=r"owner may not write there\. Give a name of your own"):
            push_checkpoint(checkpoint, "stranger/sat")

    def test_a_name_that_another_model_has(self, hub, checkpoint):
        hub.create("model", REPOSITORY).commit("main", "theirs", {"config.json": b'{"model_type": "bert"}'})
        with pytest.raises(
            PublishingError, match=r"holds a model of type 'bert'\. Choose another name, or say --replace"
        ):
            push_checkpoint(checkpoint, REPOSITORY)

    def test_a_name_that_other_files_have(self, hub, checkpoint):
        hub.create("model", REPOSITORY).commit("main", "notes", {"notes.txt": b"mine"})
        with pytest.raises(PublishingError, match=r"holds something else \(notes.txt\)"):
            push_checkpoint(checkpoint, REPOSITORY)

    def test_a_name_that_a_dataset_has(self, hub, checkpoint):
        hub.create("dataset", REPOSITORY)
        with pytest.raises(PublishingError, match="is the name of a dataset on the Hub"):
            push_checkpoint(checkpoint, REPOSITORY)

    def test_private_where_it_is_public(self, hub, checkpoint):
        hub.create("model", REPOSITORY)
        with pytest.raises(PublishingError, match="exists and is public"):
            push_checkpoint(checkpoint, REPOSITORY, private=True)

    @pytest.mark.parametrize("name", ["a b", "someone/sat/tiny", "-sat", "x" * 97])
    def test_a_name_that_cannot_be(self, hub, checkpoint, name):
        with pytest.raises(PublishingError, match="is no name on the Hub; give owner/name"):
            push_checkpoint(checkpoint, name)

    def test_no_network(self, hub, checkpoint, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9")
        with pytest.raises(PublishingError, match="the connection to the Hub failed"):
            push_checkpoint(checkpoint, REPOSITORY)

    def test_a_network_that_stays_away_in_mid_upload(self, hub, checkpoint):
        hub.dropped_uploads = 100
        with pytest.raises(PublishingError, match=r"Nothing was published as .*the connection to the Hub failed"):
            push_checkpoint(checkpoint, REPOSITORY)
        assert 100 - hub.dropped_uploads >= push.ATTEMPTS
        assert set(hub.files(REPOSITORY)) == {".gitattributes"}

    @pytest.mark.parametrize(
        ("missing", "sentence"),
        [
            ("config.json", "is no checkpoint: it holds"),
            ("preprocessor_config.json", "has no preprocessor_config.json"),
            ("model.safetensors", "has no model.safetensors"),
            ("pipeline_sat.py", "lacks pipeline_sat.py, which its code needs"),
            ("localization_sat.py", "lacks localization_sat.py, which its code needs"),
        ],
    )
    def test_a_checkpoint_that_is_not_whole(self, hub, checkpoint, tmp_path, missing, sentence):
        part = shutil.copytree(checkpoint, tmp_path / "part")
        (part / missing).unlink()
        with pytest.raises(PublishingError, match=sentence):
            push_checkpoint(part, REPOSITORY)
        assert not hub.repositories

    def test_an_evaluation_of_another_checkpoint(self, hub, checkpoint, evaluation, tmp_path):
        other = shutil.copytree(checkpoint, tmp_path / "other")
        with pytest.raises(PublishingError, match=r"measured .*sat-tiny, not .*other; evaluate this checkpoint"):
            push_checkpoint(other, REPOSITORY, card=CardSettings([evaluation]))


def test_a_network_that_comes_back(hub, checkpoint):
    hub.dropped_uploads = 2
    push_checkpoint(checkpoint, REPOSITORY)
    assert hub.dropped_uploads == 0
    assert set(hub.files(REPOSITORY)) == FILES
    assert len(hub.model(REPOSITORY).branches["main"]) == 2


def test_replace_is_asked_for(hub, checkpoint):
    hub.create("model", REPOSITORY).commit("main", "theirs", {"config.json": b'{"model_type": "bert"}', "vocab": b""})
    push_checkpoint(checkpoint, REPOSITORY, replace=True)
    assert set(hub.files(REPOSITORY)) == FILES - {".gitattributes"}


def test_the_same_again_adds_nothing(hub, checkpoint):
    for _ in range(2):
        push_checkpoint(checkpoint, REPOSITORY)
    assert {file.rfilename for file in HfApi().model_info(REPOSITORY).siblings} == FILES
