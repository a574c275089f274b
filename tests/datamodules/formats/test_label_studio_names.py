"""What pictures were called before Label Studio exported them."""

import pytest

from datamodules.formats.label_studio_names import original_names


@pytest.mark.parametrize(
    ("exported", "first"),
    [
        ("images/1f2e3d4c-part-1.png", "part-1.png"),
        ("images\\1f2e3d4c-part.png", "part.png"),
        ("/data/local-files/?d=line%201/part.png", "line 1/part.png"),
        ("http://host:8080/data/local-files/?d=line/part.png", "line/part.png"),
        ("../../srv/line/part.png", "srv/line/part.png"),
    ],
)
def test_renamed_pictures_are_known_by_their_mark(exported: str, first: str) -> None:
    assert original_names(exported)[0] == first


def test_all_ends_of_a_path_are_tried_the_longest_first() -> None:
    assert original_names("../srv/line/part.png") == [
        "srv/line/part.png",
        "line/part.png",
        "part.png",
    ]


@pytest.mark.parametrize("name", ["part.png", "images/part-1.png", "12345678/part.png", ""])
def test_other_names_are_left_alone(name: str) -> None:
    assert original_names(name) == []
