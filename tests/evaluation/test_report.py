import json
import re

import numpy as np
import pytest
from PIL import Image

from modeling_sat.evaluation import LocalizationEvaluator, View, save_records
from modeling_sat.evaluation.report import EvaluatedRun, as_table, write_report


def evaluated(
    folder, seed=0, protocol="sat", count=12, threshold_source="validation", masks=True, boxes=True, **changes
):
    """A folder as scripts/evaluate.py writes it."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    evaluator = LocalizationEvaluator(protocol, View((32, 32), None))
    evaluator.update(
        [f"image {index}" for index in range(count)],
        rng.random((count, 4, 4), np.float32),
        rng.integers(0, 3, (count, 5)),
        np.zeros(count, int),
        [np.array([[4, 4, 20, 24.0]])] * count if boxes else None,
        [(32, 32)] * count,
        [np.pad(np.ones((16, 16), np.uint8), 8)] * count if masks else None,
    )
    save_records(evaluator, folder / "records.parquet")
    threshold = evaluator.select_threshold()
    result = {
        "model": f"outputs/{folder.name}", "protocol": protocol, "dataset": "shapes", "split": "test",
        "num_images": count, "view": {"resize": [32, 32], "crop": None}, "map": "localization", "ten_crop": False,
        "threshold": threshold, "threshold_source": threshold_source,
        "constant_box_baselines": {"whole_image": 0.25, "center": 0.5},
        "constant_map_baselines": {"uniform": {"pxap": 0.3, "piou": 0.3},
                                   "gaussian": {"pxap": 0.6, "piou": 0.4, "sigma": 0.2}},
        "metrics": evaluator.compute(threshold if boxes else None),
    } | changes  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(result))
    Image.new("RGB", (64, 64)).save(folder / "worst.jpg")
    return folder


def test_two_checkpoints_side_by_side(tmp_path):
    runs = [EvaluatedRun.load(evaluated(tmp_path / name, seed), name.upper()) for seed, name in enumerate("ab")]
    write_report(runs, tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| A | B | constant: whole image and uniform map | constant: best centred box and" in text
    gt_known = [f"{100 * run.result.metrics['gt_known_loc']:.2f}" for run in runs]
    assert f"| GT-known Loc | {gt_known[0]} | {gt_known[1]} | 25.00 | 50.00 |" in text
    assert "protocol sat, whole image at 32×32" in text and "chosen on | validation" in text
    pictures = re.findall(r"\]\((\S+)\)", text)
    assert len(pictures) == 6  # four figures, and the worst images of each
    for picture in pictures:
        assert Image.open(tmp_path / "report" / picture).width >= 64


def test_html_is_one_file(tmp_path):
    write_report([EvaluatedRun.load(evaluated(tmp_path / "run"))], tmp_path / "run")
    html = (tmp_path / "run" / "report.html").read_text()
    assert html.count('src="data:image/') == 5 and not re.search(r'src="(?!data:)', html)
    assert "<td" in html and "<title>Localization on shapes</title>" in html


@pytest.mark.parametrize("protocol", ["sat", "wsolevaluation"])
def test_without_masks(protocol, tmp_path):
    run = evaluated(tmp_path / "run", protocol=protocol, masks=False, constant_map_baselines=None)
    write_report([EvaluatedRun.load(run)], tmp_path / "report")
    assert "PxAP" not in (tmp_path / "report" / "report.md").read_text()


def test_masks_alone(tmp_path):
    run = EvaluatedRun.load(evaluated(tmp_path / "run", boxes=False, constant_box_baselines=None))
    Image.new("RGB", (90, 90)).save(run.folder / "predictions.png")
    write_report([run], tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text()
    assert "| PxAP |" in text and "constant: uniform map" in text and "GT-known" not in text
    assert re.findall(r"\]\((\S+)\)", text) == ["predictions.png"]


def test_a_threshold_chosen_on_the_test_images_is_said_aloud(tmp_path):
    runs = [EvaluatedRun.load(evaluated(tmp_path / name, threshold_source=name)) for name in ("validation", "test")]
    for run, warned in zip(runs, (False, True)):
        write_report([run], tmp_path / "report")
        assert ("chosen on the very images" in (tmp_path / "report" / "report.md").read_text()) == warned


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"protocol": "wsolevaluation"}, "protocol sat and wsolevaluation"),
        ({"split": "train"}, "split test and train"),
        ({"count": 11}, "num_images 12 and 11"),
    ],
)
def test_what_does_not_compare_is_refused(other, sentence, tmp_path):
    runs = [EvaluatedRun.load(evaluated(tmp_path / "a")), EvaluatedRun.load(evaluated(tmp_path / "b", **other))]
    with pytest.raises(ValueError, match=sentence):
        write_report(runs, tmp_path / "report")


def test_two_of_one_name_are_refused(tmp_path):
    run = EvaluatedRun.load(evaluated(tmp_path / "a"))
    with pytest.raises(ValueError, match="have the same name: a, a"):
        write_report([run, run], tmp_path / "report")


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no metrics\.json and records\.parquet"):
        EvaluatedRun.load(tmp_path)


def test_table_for_the_terminal(tmp_path):
    run = EvaluatedRun.load(evaluated(tmp_path / "a"))
    lines = as_table(run.result).splitlines()
    assert lines[0] == "shapes test, 12 images, protocol sat, whole image at 32×32"
    assert lines[-1].split() == ["constant:", "centred", "Gaussian,", "pIoU", "40.00"]
