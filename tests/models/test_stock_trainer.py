"""transformers' own Trainer, used as its tutorial on image classification uses it."""

import numpy as np
import pytest
import torch
from model_mixin import TINY, images
from transformers import AutoModelForImageClassification, Trainer, TrainingArguments

from modeling_sat.methods import METHODS


def compute_metrics(eval_pred):
    """The tutorial's, which expects logits and labels and nothing else."""
    predictions, labels = eval_pred
    predictions = np.argmax(predictions, axis=1)
    return {"accuracy": (predictions == labels).mean()}


@pytest.mark.parametrize("method", METHODS)
def test_training_evaluation_and_prediction(method, tmp_path):
    fields = {name: value for name, value in TINY.items() if method == "sat" or name != "num_spatial_layers"}
    model = METHODS[method].model_class(METHODS[method].config_class(**fields))
    if method == "sat":
        model.save_pretrained(tmp_path / "start")
        model = AutoModelForImageClassification.from_pretrained(tmp_path / "start")
    rows = [{"pixel_values": pixels, "labels": row % 5} for row, pixels in enumerate(images(6))]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=3, per_device_eval_batch_size=4,
        remove_unused_columns=False, report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        model=model, args=arguments, train_dataset=rows, eval_dataset=rows, compute_metrics=compute_metrics
    )
    trainer.train()
    metrics = trainer.evaluate()
    with torch.no_grad():
        logits = model.eval()(torch.stack([row["pixel_values"] for row in rows])).logits
    expected = (logits.argmax(1) == torch.arange(6) % 5).float().mean().item()
    assert metrics["eval_accuracy"] == pytest.approx(expected)
    # A last batch of another size, and images without labels.
    for dataset in (rows, [{"pixel_values": row["pixel_values"]} for row in rows]):
        predictions = trainer.predict(dataset).predictions
        np.testing.assert_allclose(predictions, logits.numpy(), rtol=1e-4, atol=1e-5)
