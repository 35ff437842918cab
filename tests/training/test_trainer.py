import warnings

import pytest
import torch
from transformers import TrainerCallback, ViTConfig, ViTForImageClassification, ViTImageProcessor

from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization, SATImageProcessor
from modeling_sat.data import load_wsol_dataset
from modeling_sat.data.views import TrainingView
from modeling_sat.models.backbone_wsol import DropPath
from modeling_sat.training import SATTrainer, SATTrainingArguments, TrainingDiverged, parse_arguments
from modeling_sat.training.run import collate, warn_of_slow_bf16
from modeling_sat.training.start import build_model, build_processor


CONFIG = {
    "image_size": 64, "patch_size": 16, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_spatial_layers": 1, "num_labels": 8,
}  # fmt: skip


@pytest.fixture
def trainer(tmp_path):
    def build(config=None, **arguments):
        torch.manual_seed(0)
        processor = SATImageProcessor(size={"height": 64, "width": 64})
        shapes = load_wsol_dataset("shapes", split=["train", "validation"], num_train=64, num_validation=16)
        defaults = {
            "output_dir": str(tmp_path / "run"), "per_device_train_batch_size": 8, "max_steps": 4,
            "logging_steps": 2, "report_to": "none", "eval_strategy": "no", "save_strategy": "no", "disable_tqdm": True,
        }  # fmt: skip
        return SATTrainer(
            model=SATForWeaklySupervisedLocalization(SATConfig(**{**CONFIG, **(config or {})})),
            args=SATTrainingArguments(**{**defaults, **arguments}),
            train_dataset=TrainingView((64, 64), (64, 64)).of(shapes["train"]),
            eval_dataset=shapes["validation"],
            data_collator=collate,
            processing_class=processor,
        )

    return build


def logged(trainer, name):
    return [entry[name] for entry in trainer.state.log_history if name in entry and "train_runtime" not in entry]


def test_the_three_losses_are_logged_and_add_up(trainer):
    trainer = trainer()
    trainer.train()
    losses = zip(*(logged(trainer, name) for name in ("classification_loss", "area_loss", "normalization_loss")))
    assert len(logged(trainer, "loss")) == 2
    for total, parts in zip(logged(trainer, "loss"), losses):
        assert total == pytest.approx(sum(parts), abs=1e-3)


def test_classification_comes_first(trainer):
    trainer = trainer(classification_epochs=0.25)
    trainer.train()
    total, classification = logged(trainer, "loss"), logged(trainer, "classification_loss")
    assert total[0] == pytest.approx(classification[0], abs=1e-3)
    assert total[1] == pytest.approx(
        classification[1] + logged(trainer, "area_loss")[1] + logged(trainer, "normalization_loss")[1], abs=1e-3
    )


def test_evaluation_measures_localization(trainer):
    trainer = trainer()
    metrics = trainer.evaluate()
    assert {"eval_gt_known_loc", "eval_top1_loc", "eval_max_box_acc_v2", "eval_pxap", "eval_threshold"} <= set(metrics)
    # The threshold is the best one on these images, so nothing can be above it.
    assert metrics["eval_gt_known_loc"] == metrics["eval_max_box_acc"]


def test_a_loss_that_is_not_finite_stops_before_a_checkpoint(trainer, tmp_path):
    trainer = trainer(save_strategy="steps", save_steps=1, logging_steps=100)
    with torch.no_grad():
        trainer.model.patch_classifier.bias[0] = float("nan")
    with pytest.raises(TrainingDiverged, match="not a finite number at step 1"):
        trainer.train()
    assert not list((tmp_path / "run").glob("checkpoint-*"))


def test_frozen_weight_decay_groups_are_the_authors(trainer):
    trainer = trainer()
    trainer.create_optimizer()
    decayed = {id(p) for group in trainer.optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    names = {name for name, parameter in trainer.model.named_parameters() if id(parameter) in decayed}
    # One-dimensional parameters are not decayed; tokens and position embeddings are (`utils/optimizer.py:24`).
    assert names == {name for name, parameter in trainer.model.named_parameters() if parameter.ndim > 1}


def test_a_vit_brings_its_weights_and_its_pixel_statistics(tmp_path):
    fields = {name: value for name, value in CONFIG.items() if name not in ("num_spatial_layers", "num_labels")}
    vit = ViTForImageClassification(ViTConfig(**fields, num_labels=3))
    vit.save_pretrained(tmp_path)
    ViTImageProcessor(image_mean=[0.5] * 3, image_std=[0.25] * 3).save_pretrained(tmp_path)
    arguments, *_ = parse_arguments(["--model", str(tmp_path), "--num_spatial_layers", "2", "--report_to", "none"])
    model = build_model(arguments, ["cat", "dog"])
    assert (model.config.id2label, model.config.num_spatial_layers) == ({0: "cat", 1: "dog"}, 2)
    torch.testing.assert_close(model.vit.layers[0].mlp.fc1.weight, vit.vit.layers[0].mlp.fc1.weight)
    processor = build_processor(str(tmp_path), (64, 64))
    assert list(processor.image_mean) == [0.5] * 3 and list(processor.image_std) == [0.25] * 3
    assert dict(processor.size) == {"height": 64, "width": 64}


class KeepGradients(TrainerCallback):
    """The gradient of every step, before it is clipped to no effect and taken."""

    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model, **kwargs):
        self.gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))


def gradient(trainer, config=None, **arguments) -> torch.Tensor:
    trainer = trainer(config={"drop_path_rate": 0.0, **(config or {})}, max_steps=1, max_grad_norm=0, **arguments)
    kept = KeepGradients()
    trainer.add_callback(kept)
    trainer.train()
    return kept.gradients[0]


def between(trainer) -> dict:
    """λ between the areas of the four parts of the first batch."""
    built = trainer(config={"drop_path_rate": 0.0}, per_device_train_batch_size=16)
    areas = []
    for batch in list(built.get_train_dataloader())[:4]:
        with torch.no_grad():
            maps = built.model(built._scaled(batch)["pixel_values"]).localization_map
        areas.append(maps.mean().item())
    whole = sum(areas) / 4
    return {"area_target": sorted(areas)[1] * 0.5 + whole * 0.5, "area_loss_weight": 10.0}


def test_the_gradient_of_parts_is_that_of_the_batch(trainer):
    config = between(trainer)
    whole = gradient(trainer, config, per_device_train_batch_size=64)
    parts = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 4}
    exact = gradient(trainer, config, **parts)
    print(f"largest difference {(exact - whole).abs().max():.1e} of {whole.abs().max():.1e}")
    torch.testing.assert_close(exact, whole, rtol=0, atol=1e-5)
    each_its_own = gradient(trainer, config, **parts, exact_area=False)
    assert (each_its_own - whole).abs().max() > 1e-3


def test_the_measured_area_is_what_the_steps_then_see(trainer):
    """Drop path and dropout draw in the measuring pass what they draw in the steps."""
    dropping = {"drop_path_rate": 0.5, "hidden_dropout_prob": 0.2}
    trainer = trainer(config=dropping, per_device_train_batch_size=8, gradient_accumulation_steps=4, max_steps=2)
    measured, seen = [], []
    measure, remember = trainer.measure_batch_area, trainer._remember

    def measure_and_keep(*args):
        measured.append(measure(*args))
        return measured[-1]

    def remember_and_keep(loss, outputs, labels):
        seen.append(outputs.localization_map.detach().mean())
        remember(loss, outputs, labels)

    trainer.measure_batch_area, trainer._remember = measure_and_keep, remember_and_keep
    trainer.train()
    assert len(measured) == 2 and len(seen) == 8
    means = torch.stack(seen).view(2, 4)
    torch.testing.assert_close(torch.stack(measured), means.mean(dim=1), rtol=0, atol=1e-6)


def test_activation_checkpointing_has_the_same_gradient(trainer, monkeypatch):
    config = {"drop_path_rate": 0.5}
    calls, drop = [], DropPath.__call__
    monkeypatch.setattr(DropPath, "__call__", lambda *args: calls.append(1) or drop(*args))
    plain = gradient(trainer, config)
    assert len(calls) == 2  # both branches of the second of two layers; in the first nothing is dropped
    torch.testing.assert_close(gradient(trainer, config, activation_checkpointing=True), plain, rtol=0, atol=1e-6)
    assert len(calls) > 2 + 2  # again in the backward pass


def test_bf16_trains(trainer):
    trainer = trainer(bf16=True, use_cpu=True, gradient_accumulation_steps=2)
    trainer.train()
    for name in ("loss", "classification_loss", "area_loss", "normalization_loss"):
        assert torch.isfinite(torch.tensor(logged(trainer, name))).all()
    assert {weight.dtype for weight in trainer.model.parameters()} == {torch.float32}


def test_evaluation_leaves_the_random_numbers_alone(trainer):
    trainer = trainer()
    state = torch.get_rng_state()
    trainer.evaluate()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("known", "warns"), [("AVX2", True), ("AVX512", False), ("DEFAULT", False)])
def test_bf16_that_a_cpu_can_only_imitate_is_said(tmp_path, monkeypatch, known, warns):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: known)
    for bf16, said in ((True, warns), (False, False)):
        arguments = SATTrainingArguments(output_dir=str(tmp_path), bf16=bf16, use_cpu=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_slow_bf16(arguments)
        assert any("Pass --bf16 false" in str(warning.message) for warning in caught) == said
