"""The notebook, executed on small data with parameters of its own after those of its first cell, as papermill does."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from modeling_sat.data import load_wsol_dataset


ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "folder_to_boxes.ipynb"
QUICK = {
    "max_steps": 3, "per_device_train_batch_size": 8, "per_device_eval_batch_size": 8, "classification_epochs": 0,
    "use_cpu": True,
}  # fmt: skip


def read() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def execute(parameters: dict) -> str:
    """What the notebook prints."""
    notebook = read()
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    names = re.findall(r"^(\w+) = ", cell.source, re.MULTILINE)
    assert set(parameters) <= set(names)
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in parameters.items())
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def requires_boxes(folder: Path, count: int) -> None:
    coco = json.loads((folder / "boxes" / "annotations.json").read_text())
    assert len(coco["images"]) == count
    assert {annotation["image_id"] for annotation in coco["annotations"]} == {image["id"] for image in coco["images"]}
    assert all(annotation["segmentation"] for annotation in coco["annotations"])
    assert (folder / "boxes.zip").is_file()


def test_generated_pictures(tmp_path):
    tiny = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_spatial_layers": 2}
    printed = execute({"NUM_SHAPES": 32, "OUTPUT": str(tmp_path / "run"), "TRAINING": QUICK | tiny})
    assert "{'train': 32, 'test': 64}" in printed and "Boxes of 64 photographs; 0 could not be read." in printed
    requires_boxes(tmp_path / "run", 64)


def test_own_photographs_and_a_pretrained_vit(tmp_path):
    photographs, base = tmp_path / "photographs", tmp_path / "base"
    table = load_wsol_dataset("shapes", split="train", num_classes=2, num_train=24)
    for number, row in enumerate(table):
        file = photographs / ("apple", "banana")[row["label"]] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        row["image"].save(file)
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48, image_size=32, patch_size=8
    )
    ViTForImageClassification(config).save_pretrained(base)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(base)
    output = tmp_path / "run"
    printed = execute(
        {
            "PHOTOGRAPHS": str(photographs),
            "BASE": str(base),
            "OUTPUT": str(output),
            "TRAINING": QUICK | {"resize_size": 36},
        }
    )
    assert "['apple', 'banana']" in printed and "Boxes of 24 photographs" in printed
    requires_boxes(output, 24)


def test_is_committed_without_outputs_and_paths_of_a_machine():
    notebook = read()
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert not re.search(r'"/(?!/)\w', "\n".join(cell.source for cell in code))
    assert not {"papermill", "widgets", "colab"} & set(notebook.metadata)


@pytest.mark.parametrize("recipe", sorted(set(re.findall(r"scripts/configs/[\w/]+\.yaml", NOTEBOOK.read_text()))))
def test_recipes_exist(recipe):
    assert (ROOT / recipe).is_file()
