"""Claims about the facts of a data set."""

import pytest

from datamodules.about import About, Download

SHA256 = "0" * 64


def about(**changes: object) -> About:
    facts: dict[str, object] = {
        "title": "Tiles",
        "licence": "CC-BY-4.0",
        "licence_url": "",
        "citation": "",
        "homepage": "",
        "instructions": "ask the authors",
    }
    return About(**{**facts, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["title", "licence", "instructions"])
def test_a_set_without_its_facts_is_refused(missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        about(**{missing: " "})


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://a.org/b.zip", "a.org/b.zip", "https:///b.zip", "data:,x"]
)
def test_only_web_addresses_are_taken(url: str) -> None:
    with pytest.raises(ValueError, match="http or https"):
        Download(url, SHA256)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, "A" * 64, "0" * 64 + "\n"])
def test_what_is_no_sha256_is_refused(sha256: str) -> None:
    with pytest.raises(ValueError, match="64 lower-case hex digits"):
        Download("https://a.org/b.zip", sha256)


def test_the_file_name_is_the_last_part_of_the_address() -> None:
    item = Download("https://a.org/files/Class%201.zip?download=1#top", SHA256)
    assert item.file_name == "Class 1.zip"


@pytest.mark.parametrize("end", ["", "..", "a%2Fb", "a%5Cb", "a%00b", "%2e%2e"])
def test_an_address_without_a_plain_file_name_is_refused(end: str) -> None:
    with pytest.raises(ValueError, match="file name"):
        Download(f"https://a.org/{end}", SHA256)


def test_two_downloads_of_one_file_name_are_refused() -> None:
    items = tuple(Download(f"https://{host}.org/set.zip", SHA256) for host in "ab")
    with pytest.raises(ValueError, match="one file name"):
        about(downloads=items)
