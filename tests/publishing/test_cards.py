"""A card says what the run's files say, and nothing else."""

import json
import os
import re
from dataclasses import replace
from io import BytesIO

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from modeling_sat.publishing import CardSettings, PublishingError, save_card
from modeling_sat.publishing.cards import MARKER, card_files, model_card
from modeling_sat.publishing.facts import Run
from modeling_sat.training import DataArguments, ModelArguments, SATTrainingArguments
from modeling_sat.training.checkpoints import run_record


NAME = "someone/sat-tiny"


@pytest.fixture
def run(checkpoint):
    """A checkpoint folder with the records of a training."""
    settings = {
        "method": "sat", "model": "/home/me/deit-tiny", "dataset": "someone/birds", "learning_rate": 0.00012, "optim": "adamw_torch",
        "seed": 6, "images in a batch": 64, "training images": 5994, "freeze": "none", "ema_decay": None, "bf16": True,
    }  # fmt: skip
    session = {
        "from_step": 0, "seconds": 4321.0, "hardware": "1 × NVIDIA H200", "versions": {"torch": "2.13.0"},
        "hub": {"dataset": "someone/birds", "base_model": "facebook/deit-tiny-patch16-224"},
    }  # fmt: skip
    (checkpoint / "run.json").write_text(json.dumps({"settings": settings, "length": {}, "session": session}))
    (checkpoint / "trainer_state.json").write_text('{"epoch": 30.0, "global_step": 2810, "log_history": []}')
    return checkpoint


def test_it_tells_the_run(run):
    text = model_card(run, NAME)
    card = ModelCard(text)
    assert card.data.library_name == "transformers" and card.data.pipeline_tag == "object-detection"
    assert card.data.license == "apache-2.0" and card.data.base_model == "facebook/deit-tiny-patch16-224"
    assert card.data.datasets == ["someone/birds"] and "weakly-supervised-object-localization" in card.data.tags
    assert card.data.eval_results is None and "No evaluation has been added" in text
    assert "5,994 labelled images of `someone/birds`" in text and "It started from `deit-tiny`" in text
    assert "2,810 steps, 30 passes" in text and "Training took 72 minutes on 1 × NVIDIA H200." in text
    assert "| learning rate | 0.00012 |" in text and "| bfloat16 | True |" in text
    assert "frozen" not in text and "averaged" not in text  # were not set
    assert "/home/me" not in text and str(run) not in text


ZEROS = {
    "area_loss_weight": (0.0, "| weight of the area loss | 0.0 |"),
    "normalization_loss_weight": (0, "| weight of the normalization loss | 0 |"),
    "smoothing_kernel_size": (1, "| smoothing kernel of the map | 1 |"),
    "drop_path_rate": (0.0, "| drop path | 0.0 |"),
    "area_reduction": ("local", "| area loss taken over | local |"),
    "classifier": ("class_token", "| classifier | class_token |"),
    "seed": (0, "| seed | 0 |"),
    "weight_decay": (0.0, "| weight decay | 0.0 |"),
    "exact_area": (False, "| area loss over all parts of a batch | False |"),
    "max_grad_norm": (0.0, "| greatest gradient norm (0: not clipped) | 0.0 |"),
    "validation_fraction": (0.0, "| share of the training images held out | 0.0 |"),
    "adam_beta2": (0.99, "| Adam's β2 | 0.99 |"),
    "data_seed": (0, "| seed of the choice of images | 0 |"),
    "warmup_steps": (0.2, "| warm-up | 0.2 |"),
    "classes": (["a", "b|c"], r"| classes | a, b\|c |"),
    "dataset_options": ('{"root": "/home/me/boxes", "num_train": 0}', "| options of the dataset | root boxes, num_train 0 |"),
    "allow_partial": (True, "| some published images may be missing | True |"),
    "lr_scheduler_kwargs": ({"min_lr": 0}, "| schedule's settings | min_lr 0 |"),
}  # fmt: skip


@pytest.mark.parametrize("name", ZEROS)
def test_every_setting_that_is_not_the_default_is_named(run, name):
    value, line = ZEROS[name]
    for path, change in (
        (run / "run.json", lambda content: content["settings"].update({name: value})),
        (run / "config.json", lambda content: content.update({name: value} if name in content else {})),
    ):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    text = model_card(run, NAME)
    assert line in text and "/home/me" not in text


def test_defaults_are_left_out_but_for_the_first(run):
    arguments = (ModelArguments(), DataArguments(), SATTrainingArguments(output_dir=str(run), use_cpu=True))
    replace(run_record(*arguments, 8), session=Run(run).record.session).save(run)
    names = [name for name, _ in Run(run).recipe()]
    config = json.loads((run / "config.json").read_text())
    changed = {
        "drop path": config["drop_path_rate"] != 0.1,
        "smoothing σ of the map": config["smoothing_sigma"] != 0.418,
    }
    assert set(names) - {name for name, differs in changed.items() if differs} == {
        "target area λ", "weight of the area loss", "weight of the normalization loss", "spatial layers", "classifier",
        "optimizer", "learning rate", "schedule", "weight decay", "images in a batch", "seed",
    }  # fmt: skip


def test_a_training_that_was_interrupted_does_not_claim_its_whole_time(run):
    record = json.loads((run / "run.json").read_text())
    record["session"] |= {"from_step": 1000, "seconds": 60.0}
    (run / "run.json").write_text(json.dumps(record))
    assert "From step 1,000 on, training took 60 seconds on" in model_card(run, NAME)


def test_without_records_it_claims_no_number(checkpoint):
    for name in ("run.json", "trainer_state.json"):
        (checkpoint / name).unlink()
    text = model_card(checkpoint, NAME)
    training = text.partition("## Training")[2].partition("## Limits")[0]
    assert "This folder has no record of a training." in training
    config = json.loads((checkpoint / "config.json").read_text())
    numbers = {float(number) for number in re.findall(r"\| ([\d.]+) \|", training)}
    assert numbers <= {value for value in config.values() if isinstance(value, (int, float))}


def test_every_number_of_an_evaluation(shared_checkpoint, evaluation):
    text = model_card(shared_checkpoint, NAME, settings=CardSettings([evaluation]))
    result = json.loads((evaluation / "metrics.json").read_text())
    index = {found.metric_type: found for found in ModelCard(text).data.eval_results}
    assert {name: found.metric_value for name, found in index.items()} == result["metrics"]
    found = index["gt_known_loc"]
    assert (found.dataset_name, found.dataset_split, found.metric_config) == ("shapes", "test", "sat")
    assert found.metric_args == {"threshold": 0.3, "threshold_source": "validation"}
    assert index["top1_cls"].metric_args is None
    assert "**shapes, test split**, 500 images, protocol `sat`, centre crop at 64×64:" in text
    assert "| GT-known Loc | 96.1 | 23.2 | 54.8 |" in text
    assert "| PxAP | 91.7 | 30.4 | 62.7 |" in text
    assert "Localization threshold 0.3. The threshold was chosen on validation images" in text


@pytest.mark.parametrize(
    ("source", "said"), [("test", "**The threshold was chosen on the very images"), ("fixed", "was fixed beforehand")]
)
def test_it_says_who_chose_the_threshold(shared_checkpoint, evaluation, source, said):
    change(evaluation, threshold_source=source)
    assert said in model_card(shared_checkpoint, NAME, settings=CardSettings([evaluation]))


def test_images_without_boxes(shared_checkpoint, evaluation):
    change(evaluation, threshold=None, threshold_source=None, constant_box_baselines=None, constant_map_baselines=None,
           metrics={"top1_cls": 0.5})  # fmt: skip
    text = model_card(shared_checkpoint, NAME, settings=CardSettings([evaluation]))
    assert "| Top-1 Cls | 50.0 |" in text and "constant baseline:" not in text


def test_numbers_of_another_checkpoint_are_refused(shared_checkpoint, evaluation, tmp_path):
    (tmp_path / "other").mkdir()
    change(evaluation, model=str(tmp_path / "other"))
    with pytest.raises(PublishingError, match=r"measured .*other, not .*sat-tiny"):
        model_card(shared_checkpoint, NAME, settings=CardSettings([evaluation]))
    change(evaluation, model=NAME)  # measured by its id
    model_card(shared_checkpoint, NAME, settings=CardSettings([evaluation]))


def test_weights_newer_than_their_numbers(checkpoint, evaluation):
    change(evaluation, model=str(checkpoint))
    os.utime(evaluation / "metrics.json", (0, 0))
    with pytest.warns(UserWarning, match="if the checkpoint was trained again since, evaluate it again"):
        model_card(checkpoint, NAME, settings=CardSettings([evaluation]))


@pytest.mark.parametrize(
    ("content", "said"), [(None, "has no metrics.json"), ("[]", "a mapping"), ("{}", "has no 'model'")]
)
def test_no_evaluation(shared_checkpoint, tmp_path, content, said):
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(PublishingError, match=said):
        model_card(shared_checkpoint, NAME, settings=CardSettings([tmp_path]))


def test_the_picture_is_modest(shared_checkpoint, evaluation):
    files = card_files(shared_checkpoint, NAME, settings=CardSettings([evaluation]))
    with Image.open(BytesIO(files["maps.jpg"])) as picture:
        assert picture.format == "JPEG" and picture.size == (1200, 500)
    assert b"](maps.jpg)" in files["README.md"]
    assert set(card_files(shared_checkpoint, NAME)) == {"README.md"}  # none was drawn


def test_the_last_picture_of_the_training(checkpoint):
    (checkpoint / "maps").mkdir()
    for step, colour in {"000010": "red", "000020": "blue"}.items():
        Image.new("RGB", (10, 10), colour).save(checkpoint / "maps" / f"step-{step}.jpg")
    with Image.open(BytesIO(card_files(checkpoint, NAME)["maps.jpg"])) as picture:
        assert picture.getpixel((0, 0))[2] > 200


@pytest.mark.parametrize("name", ["nowhere.png", "words.png"])
def test_a_picture_that_is_none(checkpoint, tmp_path, name):
    (tmp_path / "words.png").write_text("no picture")
    with pytest.raises(PublishingError, match=r"There is no picture|is not an image"):
        card_files(checkpoint, NAME, settings=CardSettings(picture=tmp_path / name))


def test_a_card_written_by_hand_is_kept(checkpoint, evaluation, tmp_path):
    text = "---\nlicense: mit\n---\n# Mine\n![birds](birds.jpg) ![out](../secret.jpg) ![away](https://hub/a.jpg)\n"
    (checkpoint / "README.md").write_text(text)
    Image.new("RGB", (10, 10)).save(checkpoint / "birds.jpg")
    Image.new("RGB", (10, 10)).save(tmp_path / "secret.jpg")
    files = card_files(checkpoint, NAME)
    assert files["README.md"].decode() == text and set(files) == {"README.md", "birds.jpg"}
    with pytest.raises(PublishingError, match="written by hand"):
        card_files(checkpoint, NAME, settings=CardSettings([evaluation]))
    with pytest.raises(PublishingError, match="written by hand"):
        save_card(checkpoint / "README.md", checkpoint, NAME)
    assert (checkpoint / "README.md").read_text() == text


def test_a_card_in_a_file(shared_checkpoint, evaluation, tmp_path):
    card = tmp_path / "cards" / "tiny.md"
    save_card(card, shared_checkpoint, settings=CardSettings([evaluation]))
    assert "# tiny\n" in card.read_text() and f'model="{shared_checkpoint}"' in card.read_text()
    assert "](tiny.jpg)" in card.read_text() and (tmp_path / "cards" / "tiny.jpg").is_file()
    assert MARKER in card.read_text()
    Image.new("RGB", (10, 10)).save(tmp_path / "cards" / "own.png")
    save_card(card, shared_checkpoint, NAME, CardSettings(picture=tmp_path / "cards" / "own.png"))  # again
    assert "](own.png)" in card.read_text() and "No evaluation" in card.read_text()


def test_strange_names_of_classes(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    config["id2label"] = {"0": "{{ 7 * 7 }}", "1": "<script>", "2": "a | b", "3": "---", "4": "*"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    text = model_card(checkpoint, NAME)
    assert "`{{ 7 * 7 }}`" in text and "49" not in text


def change(evaluation, **fields):
    path = evaluation / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
