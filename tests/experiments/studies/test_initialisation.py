"""Holds which starts of stage 1 are compared."""

import pytest

from experiments.comparing.study_plan import Results
from experiments.studies.initialisation import INIT, Initialisation
from tests.experiments.studies.worked_results import worked


def test_each_named_start_is_a_stage_1_and_a_stage_2_on_it() -> None:
    study = Initialisation({"stable_diffusion": "sd", "ours": "folder"})
    starts = {one.name: one.settings[INIT] for one in study.variants() if one.is_stage1}
    assert starts == {
        "stage1_random": "random",
        "stage1_stable_diffusion": "sd",
        "stage1_ours": "folder",
    }
    needs = {one.name: one.needs for one in study.variants() if not one.is_stage1}
    assert needs["ours"] == ("stage1_ours",) and needs["untrained"] == ()


def test_the_papers_figures_stand_beside_no_other_weights() -> None:
    [table] = Initialisation({"ours": "folder"}).report(Results({})).tables
    papers = {row.labels["start of stage 1"] for row in table.rows if row.paper}
    assert papers == {"random", "stable_diffusion"}


def test_name_that_is_taken_is_one_line() -> None:
    with pytest.raises(ValueError, match="weights names 'random', which is always there"):
        Initialisation({"random": "folder"})


def test_each_start_is_told_from_none_over_the_same_seeds() -> None:
    figures = {"random": [0.5, 0.6], "untrained": [0.4, 0.49]}
    report = Initialisation().report(worked("mask/test/iou_image", figures))
    assert report.answers == (
        "a stage 1 from random instead of none: iou_image +0.105 (+0.041 to +0.169)",
    )
