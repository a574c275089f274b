"""The dataset card of a manifest: dataset_card.md for people, croissant.json for machines.

Follows the Croissant 1.0 format of MLCommons; pictures are described, never copied.
"""

import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from datamodules.about import About
from datamodules.manifest import Manifest
from datamodules.manifest_file import COLUMNS, VERSION, replacing
from datamodules.preparing.preparation import Preparation
from datamodules.sample import GOOD
from experiments.tables import Table, to_markdown

CARD_NAME = "dataset_card.md"
CROISSANT_NAME = "croissant.json"
CONTEXT: dict[str, object] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "recordSet": "cr:recordSet",
    "repeated": "cr:repeated",
    "source": "cr:source",
}


def write_card(folder: Path, done: Preparation, *, about: About) -> None:
    """dataset_card.md and croissant.json now in `folder`, older ones replaced."""
    texts = {
        CARD_NAME: card_text(done, about),
        CROISSANT_NAME: json.dumps(croissant(done.manifest, about), indent=2, ensure_ascii=False),
    }
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text.rstrip() + "\n", encoding="utf-8")


def card_text(done: Preparation, about: About) -> str:
    """The card in Markdown: what the data is, whose it is, what is in it and what was left out."""
    manifest = done.manifest
    rows = np.arange(len(manifest))
    types = manifest.types_of(rows)
    lines = [
        f"# {about.title}",
        "",
        f"{len(manifest)} pictures in {len(set(manifest.column('group')))} groups, "
        f"{sum(name == GOOD for name in types)} of them without a defect.",
        "",
        f"- Licence: {about.licence} {about.licence_url}".rstrip(),
        f"- Cite: {about.citation}",
        f"- Origin: {about.homepage}",
        f"- Manifest: {manifest.path.name}, version {VERSION}, sha256 {manifest.sha256}",
        f"- Split: sha256 {manifest.split_sha256}, {manifest.leaks} pairs of alike pictures in "
        "different splits",
        f"- Left out: {len(done.refused)} unusable, {len(done.copies)} copies of pictures in "
        "another split (quarantine.csv)",
        f"- Generated: {manifest.generated_count} pictures by a model, which only train",
        *(f"- Note: {count} x {note}" for note, count in sorted(done.notes.items())),
        "",
    ]
    tables = [
        _counts("type", dict(Counter(types))),
        _counts("split", dict(Counter(manifest.column("split")))),
        _counts("licence", dict(Counter(manifest.column("licence")))),
        _counts("annotation", dict(Counter(manifest.column("mask_kind")))),
    ]
    lines += [
        "\n".join(["## Pictures per " + t.columns[0], "", to_markdown(t), ""]) for t in tables
    ]
    holds = tuple((name, words) for name, (_, words) in COLUMNS.items())
    return "\n".join(
        [
            *lines,
            "## Columns of the manifest",
            "",
            to_markdown(Table("", ("column", "holds"), holds)),
            "",
        ]
    )


def croissant(manifest: Manifest, about: About) -> dict[str, object]:
    """The Croissant description of a manifest: one file, one record set, a field per column."""
    file_id = manifest.path.name
    fields = [
        _field(name, kind, words, file_id)
        for name, (kind, words) in COLUMNS.items()
        if not pa.types.is_struct(kind) and not _is_list_of_structs(kind)
    ]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest.source,
        "description": f"{about.title}: {len(manifest)} pictures with defect annotations.",
        "license": about.licence_url or about.licence,
        "url": about.homepage,
        "citeAs": about.citation,
        "version": f"{VERSION}.0.0",
        "datePublished": datetime.date.today().isoformat(),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file_id,
                "name": file_id,
                "contentUrl": file_id,
                "encodingFormat": "application/x-parquet",
                "contentSize": f"{manifest.path.stat().st_size} B",
                "sha256": hashlib.sha256(manifest.path.read_bytes()).hexdigest(),
            }
        ],
        "recordSet": [
            {"@type": "cr:RecordSet", "@id": "pictures", "name": "pictures", "field": fields}
        ],
    }


def _field(name: str, kind: pa.DataType, words: str, file_id: str) -> dict[str, object]:
    is_list = pa.types.is_list(kind)
    kind = kind.value_type if is_list else kind
    is_number, is_truth = pa.types.is_integer(kind), pa.types.is_boolean(kind)
    field: dict[str, object] = {
        "@type": "cr:Field",
        "@id": f"pictures/{name}",
        "name": name,
        "description": words,
        "dataType": "sc:Integer" if is_number else "sc:Boolean" if is_truth else "sc:Text",
        "source": {"fileObject": {"@id": file_id}, "extract": {"column": name}},
    }
    return field | ({"repeated": True} if is_list else {})


def _is_list_of_structs(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)


def _counts(title: str, counts: Mapping[str, int]) -> Table:
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Table("", (title, "pictures"), tuple((name or "-", count) for name, count in rows))
