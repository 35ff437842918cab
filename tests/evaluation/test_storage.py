import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modeling_sat.evaluation import LocalizationEvaluator, View, load_records, save_records


def evaluator(protocol="sat", masks=True, count=5, of_a_class=False) -> LocalizationEvaluator:
    rng = np.random.default_rng(0)
    evaluator = LocalizationEvaluator(protocol, View((64, 64), (56, 56)))
    ids = [f"image {index}" for index in range(count)]
    evaluator.update(
        ids,
        rng.random((count, 7, 7), np.float32),
        rng.integers(0, 9, (count, 5)),
        rng.integers(0, 9, count),
        [np.array([[3, 4, 30, 40], [5, 5, 9, 9.0]])[: 1 + index % 2] for index in range(count)],
        [(50, 70)] * count,
        [rng.integers(0, 2, (50, 70), np.uint8) for _ in range(count)] if masks else None,
        rng.random((count, 7, 7), np.float32) if of_a_class else None,
    )
    return evaluator


@pytest.mark.parametrize("protocol", ["sat", "wsolevaluation"])
@pytest.mark.parametrize(("masks", "of_a_class"), [(True, False), (False, False), (False, True)])
def test_everything_computed_again_is_the_same(protocol, masks, of_a_class, tmp_path):
    original = evaluator(protocol, masks, of_a_class=of_a_class)
    save_records(original, tmp_path / "records.parquet")
    loaded = load_records(tmp_path / "records.parquet")
    threshold = original.select_threshold()
    assert loaded.select_threshold() == threshold
    assert loaded.compute(threshold) == original.compute(threshold)
    assert loaded.view == original.view
    for record, expected in zip(loaded.records, original.records, strict=True):
        assert record.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(record[name], value)


def test_records_of_earlier_versions_are_read(tmp_path):
    original = evaluator()
    save_records(original, tmp_path / "records.parquet")
    table = pq.read_table(tmp_path / "records.parquet").drop_columns(["predicted_class_boxes"])
    pq.write_table(table, tmp_path / "earlier.parquet")
    assert load_records(tmp_path / "earlier.parquet").compute(0.5) == original.compute(0.5)


def test_loaded_records_join_those_of_a_new_run(tmp_path):
    save_records(evaluator(count=3), tmp_path / "records.parquet")
    resumed = load_records(tmp_path / "records.parquet")
    resumed.extend(evaluator(count=3).records)
    assert len(resumed.records) == 3


def test_preview_is_the_map_over_the_view():
    evaluator = LocalizationEvaluator("sat", View((64, 64), None))
    localization_map = np.zeros((16, 16), np.float32)
    localization_map[:, 8:] = 1
    evaluator.update(["image"], [localization_map])
    (record,) = evaluator.records
    assert record["preview"].dtype == np.uint8 and record["preview"].shape == (16, 16)
    assert (record["preview"][:, :7] == 0).all() and (record["preview"][:, 9:] >= 254).all()


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.parquet is not a file of saved records"):
        load_records(tmp_path / "nothing.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="its columns are a"):
        load_records(tmp_path / "other.parquet")
