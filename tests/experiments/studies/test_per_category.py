"""Holds Table 5: an average only of what is whole, the paper's figures on its own data alone."""

import pytest

from experiments.comparing.paper_tables import MEASURED, PAPER_ONLY, Row
from experiments.comparing.study_plan import ChildResult, Results
from experiments.studies.per_category import AVERAGE, PerCategory

METRICS = ("type_accuracy", "f1_image", "iou_image")


def child(value: float, data: str) -> ChildResult:
    tags = {"setting": "budget_200", "dataset": data, "scale": "tiny"}
    return ChildResult(f"id-{value}", {f"mask/test/{name}": value for name in METRICS}, tags)


def rows_of(study: PerCategory, results: Results) -> dict[tuple[str, str], Row]:
    (table,) = study.report(results).tables
    return {
        (row.labels["category"], row.figure): row for row in table.rows if row.status == MEASURED
    }


def test_average_is_of_all_categories_of_each_seed_and_names_those_runs_alone() -> None:
    study = PerCategory({"grid": "g", "wood": "w"})
    found = {
        ("grid", 0): child(0.2, "mvtec_ad"),
        ("wood", 0): child(0.6, "mvtec_ad"),
        ("grid", 1): child(0.4, "mvtec_ad"),
    }
    average = rows_of(study, Results(found))[AVERAGE, "iou_image"]
    assert average.ours and average.ours.values == (pytest.approx(0.4),)
    assert average.runs == ("id-0.2", "id-0.6") and average.data == "mvtec_ad"
    assert average.paper is None


def test_only_an_average_over_ten_stands_beside_the_papers() -> None:
    names = ["grid", "leather", "cable", *(f"c{number}" for number in range(7))]
    found = {(name, 0): child(0.5, "mvtec_ad") for name in names}
    rows = rows_of(PerCategory(dict.fromkeys(names, "m")), Results(found))
    average = rows[AVERAGE, "iou_image"]
    assert average.paper and average.paper.value == 0.5571


def test_papers_figures_stand_apart_from_those_of_other_data() -> None:
    study = PerCategory({"grid": "g"})
    (table,) = study.report(Results({("grid", 0): child(0.2, "ours")})).tables
    grid = [row for row in table.rows if row.labels["category"] == "grid"]
    assert [row.status for row in grid] == [MEASURED, PAPER_ONLY] * 3
    assert not any(row.ours and row.paper for row in table.rows)


def test_category_called_average_is_one_line() -> None:
    with pytest.raises(ValueError, match="names 'average', which is the last row"):
        PerCategory({AVERAGE: "m"})
