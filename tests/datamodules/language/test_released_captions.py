"""The release's caption tables: each quirk of headers, encodings, cells, labels and names."""

from pathlib import Path

import pytest

from datamodules.language.released_captions import (
    ReleasedCaption,
    decode,
    domain_of,
    read_release,
    split_category,
)

HEADERS = [
    "Image Name,label,Categories,Description",
    "Image Name,Label,Categories,Description",
    "Image Name,categories,label,Description",
    "Image Name,Categories,label,Description",
    "Image Name,Description,Categories,label",
    "Image Name,Categories,Description,label",
    "Image Name,Description,label,Categories",
    "Image Name,Diversified Description,categories,label",
]
CELLS = {
    "image name": "a (1).jpg",
    "label": "7",
    "categories": '"tiles,crack"',
    "description": '" A ""crack"", \nlong. "',
    "diversified description": '" A ""crack"", \nlong. "',
}


def write_table(folder: Path, text: str | bytes, name: str = "5-10MT_tiles/t.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def read_one(folder: Path, text: str | bytes) -> ReleasedCaption:
    (row,) = read_release(write_table(folder, text))
    return row


@pytest.fixture(scope="module")
def release(shared_data: Path) -> list[ReleasedCaption]:
    return read_release(shared_data / "imdd1m_release")


@pytest.mark.parametrize("header", HEADERS)
def test_columns_are_found_by_name_in_each_of_the_eight_headers(tmp_path, header):
    cells = ",".join(CELLS[name.strip().lower()] for name in header.split(","))
    row = read_one(tmp_path, f"{header}\n{cells}\n")
    assert (row.image_name, row.label, row.defects) == ("a (1).jpg", 7, ("crack",))
    assert row.caption == ' A "crack", \nlong. '


@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_line_ends_and_a_missing_last_one_change_nothing(tmp_path, ending):
    text = f"{HEADERS[0]}{ending or chr(10)}a.jpg,7,tiles,A crack.{ending}"
    assert read_one(tmp_path, text).caption == "A crack."


@pytest.mark.parametrize(
    ("content", "text", "encoding"),
    [
        ("5000nm²".encode(), "5000nm²", "utf-8"),
        (b"\xef\xbb\xbfx", "x", "utf-8"),
        (b"the device\xa1\xa6s", "the device’s", "cp950"),
        (b"5000nm\xb2.", "5000nm².", "latin-1"),
    ],
)
def test_encodings_are_tried_in_order_and_reported(content, text, encoding):
    assert decode(content) == (text, encoding)


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("5-10MT_tiles/5-10MT_Tiles.csv", "MT_tiles"),
        ("11-19NEU-DET/11-19NEU-DET1816.csv", "NEU-DET"),
        ("20-24wall1000/20-24wall1032.csv", "wall"),
        ("354_355solarcrack/x.csv", "solarcrack"),
        ("543_551_ic_chip/x.csv", "ic_chip"),
        ("367waterheat/x.csv", "waterheat"),
        ("572real-iad/x.csv", "real-iad"),
        ("0-4aircraft4000 - 1precise_translation_output.csv", "aircraft"),
        ("this_Processed_Categories_Data (2).csv", "mvtec"),
        ("my own/x.csv", "my own"),
    ],
)
def test_domain_is_the_folder_without_ids_and_counts(name, domain):
    assert domain_of(name) == domain


@pytest.mark.parametrize(
    ("category", "parts"),
    [
        ("steel,crazing", ("steel", "", ("crazing",), False)),
        ("MT,good", ("MT", "", (), True)),
        ("fabric,hole , knot defect", ("fabric", "", ("hole", "knot defect"), False)),
        ("fabric,broken spandex.", ("fabric", "", ("broken spandex",), False)),
        (
            "solar cell, monocrystalline, crack",
            ("solar cell", "monocrystalline", ("crack",), False),
        ),
        ("solar cell, polycrystalline, good", ("solar cell", "polycrystalline", (), True)),
        ("cap", ("cap", "", (), False)),
        ("cap, normal coding", ("cap", "", (), True)),
        ("cap, cap deformation, normal coding", ("cap", "", ("cap deformation",), False)),
        ("silicon steel strip,SPDI", ("silicon steel strip", "", ("steel-pit defect",), False)),
        ("candleAnomaly,good", ("candle", "", (), True)),
    ],
)
def test_category_strings_are_taken_apart(category, parts):
    assert split_category(category) == parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has the header ''"),
        ("Image,label,Categories,Description\n", "expected the columns Image Name"),
        ("Image Name,label,label,Categories,Description\n", "once each"),
        (f"{HEADERS[0]},Diversified Description\n", "once each"),
        (f"{HEADERS[0]}\na.jpg,7.0,tiles,x\n", "line 2 has the label '7.0'"),
        (f"{HEADERS[0]}\na.jpg,,tiles,x\n", "line 2 has the label ''"),
        (f"{HEADERS[0]}\na.jpg,-1,tiles,x\n", "expected an integer"),
        (f'{HEADERS[0]}\na.jpg,1,tiles,"x\n\ny"\nb.jpg,x,tiles,x\n', "line 5 has the label 'x'"),
        (f"{HEADERS[0]}\na.jpg,7,tiles,crack,x\n", "line 2 has 5 cells"),
        (f"{HEADERS[0]}\na.jpg,7\n", "line 2 has 2 cells"),
        (f"{HEADERS[0]}\n ,7,tiles,x\n", "line 2 has no image name"),
        (f'{HEADERS[0]}\na.jpg,7," ,crack",x\n', "line 2 has no category"),
        (f'{HEADERS[0]}\na.jpg,7,tiles,"x\nb.jpg,7,tiles,y\n', "quotes closed"),
        (f"{HEADERS[0]}\na.jpg,7,tiles,{'x' * 200_000}\n", "line 2 is no CSV row"),
    ],
)
def test_what_is_no_release_table_is_one_line_with_its_place(tmp_path, text, words):
    with pytest.raises(ValueError, match=r"5-10MT_tiles/t\.csv") as error:
        read_release(write_table(tmp_path, text))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no CSV file"):
        read_release(tmp_path)


def test_blank_lines_are_no_rows(tmp_path):
    text = f"{HEADERS[0]}\n\na.jpg,7,tiles,x\n\n"
    assert read_one(tmp_path, text).row == 1


def test_the_whole_sample_is_read(release):
    assert len(release) == 330
    assert len({row.csv for row in release}) == 23


def test_encodings_of_the_sample_are_those_found_by_hand(release):
    old = {row.domain for row in release if row.encoding == "cp950"}
    assert old == {"semiconductor", "concrete", "VisA"}
    assert {row.encoding for row in release} == {"utf-8", "cp950"}
    assert any("material’s" in row.caption for row in release)


def test_multi_line_captions_of_the_sample_stay_whole(release):
    lines = [row for row in release if "\n" in row.caption]
    assert {row.domain for row in lines} == {"gear", "solarcrack", "VisA"}


def test_only_one_class_of_the_sample_tells_no_type(release):
    untold = {row.category for row in release if not row.defects and not row.is_good}
    assert untold == {"cap"}


def test_magnetic_tiles_are_no_tiles(release):
    assert {row.product for row in release if row.domain == "MT_tiles"} == {"magnetic tile"}
