"""The release's caption tables: each quirk of headers, encodings, cells, labels and names."""

from pathlib import Path

import pytest

from datamodules.language.released_captions import decode, domain_of, read_release, split_category

HEADERS = [
    "Image Name,label,Categories,Description",
    "Image Name,categories,label,Description",
    "Image Name,Description,label,Categories",
    "Image Name,Diversified Description,Categories,Label",
]
CELLS = {
    "image name": "a (1).jpg",
    "label": "7",
    "categories": '"tiles,crack"',
    "description": '" A ""crack"", \nlong. "',
    "diversified description": '" A ""crack"", \nlong. "',
}


def write_table(folder: Path, text: str) -> Path:
    path = folder / "5-10MT_tiles/t.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return folder


@pytest.mark.parametrize("header", HEADERS)
def test_columns_are_found_by_name_in_any_order(tmp_path, header):
    cells = ",".join(CELLS[name.strip().lower()] for name in header.split(","))
    (row,) = read_release(write_table(tmp_path, f"{header}\n\n{cells}\n\n"))
    assert (row.image_name, row.label, row.defects, row.row) == ("a (1).jpg", 7, ("crack",), 1)
    assert (row.caption, row.product) == (' A "crack", \nlong. ', "magnetic tile")


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
        ("20-24wall1000/20-24wall1032.csv", "wall"),
        ("543_551_ic_chip/x.csv", "ic_chip"),
        ("367waterheat/x.csv", "waterheat"),
        ("0-4aircraft4000 - 1precise_translation_output.csv", "aircraft"),
        ("this_Processed_Categories_Data (2).csv", "mvtec"),
        ("my own/x.csv", "my own"),
    ],
)
def test_domain_is_the_folder_without_ids_and_counts(name, domain):
    assert domain_of(name) == domain


@pytest.mark.parametrize(
    ("category", "product", "material", "defects", "is_good"),
    [
        ("fabric,hole , knot defect", "fabric", "", ("hole", "knot defect"), False),
        ("fabric,broken spandex.", "fabric", "", ("broken spandex",), False),
        ("solar cell, polycrystalline, good", "solar cell", "polycrystalline", (), True),
        ("solar cell, monocrystalline, crack", "solar cell", "monocrystalline", ("crack",), False),
        ("cap", "cap", "", (), False),
        ("cap, cap deformation, normal coding", "cap", "", ("cap deformation",), False),
        ("silicon steel strip,SPDI", "silicon steel strip", "", ("steel-pit defect",), False),
        ("candleAnomaly,good", "candle", "", (), True),
    ],
)
def test_category_strings_are_taken_apart(category, product, material, defects, is_good):
    assert split_category(category) == (product, material, defects, is_good)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has the header ''"),
        ("Image,label,Categories,Description\n", "expected the columns Image Name"),
        (f"{HEADERS[0]},Diversified Description\n", "once each"),
        (f"{HEADERS[0]}\na.jpg,7.0,tiles,x\n", "line 2 has the label '7.0'"),
        (f'{HEADERS[0]}\na.jpg,1,tiles,"x\n\ny"\nb.jpg,x,tiles,x\n', "line 5 has the label 'x'"),
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


def test_the_whole_sample_is_read_as_a_person_reads_it(shared_data):
    release = read_release(shared_data / "imdd1m_release")
    assert (len(release), len({row.csv for row in release})) == (330, 23)
    old = {row.domain for row in release if row.encoding == "cp950"}
    assert old == {"semiconductor", "concrete", "VisA"}
    assert any("material’s" in row.caption for row in release)
    assert {r.domain for r in release if "\n" in r.caption} == {"gear", "solarcrack", "VisA"}
    assert {r.category for r in release if not r.defects and not r.is_good} == {"cap"}
