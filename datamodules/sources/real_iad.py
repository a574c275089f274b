"""Real-IAD (Wang et al. 2024) in its original layout.

`realiad_jsons/<category>.json` holds meta (normal_class, prefix) and the lists train and test of
category, anomaly_class, image_path, mask_path; the paths lie below `realiad_<resolution>/<prefix>`:
`OK/S0001/<..>_C1_<..>.jpg`, `NG/<code>/S0001/<..>_C1_<..>.jpg` with its mask, a .png, beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.layout import absent_layout
from datamodules.formats.records import grey_values, make_record
from datamodules.formats.text_files import read_json
from datamodules.manifest import Source
from datamodules.sample import Record
from datamodules.vocabulary import normalise_name

RESOLUTIONS = ("raw", "1024", "512", "256")
SPLITS = ("train", "test")
# The folder codes are Chinese initials; the names are those of the project page, in its order.
TYPES_BY_CODE = {
    "AK": "pit",
    "BX": "deformation",
    "CH": "abrasion",
    "HS": "scratch",
    "PS": "damage",
    "QS": "missing parts",
    "YW": "foreign objects",
    "ZW": "contamination",
}
REMEDY = "take the set again"


class RealIad(Source):
    """Thirty objects from five views with eight types of defect.

    The five views of a sample are one group. The label is that of the view, not of the sample: a
    view that does not show the defect is good, though its folder and file name say NG.
    resolution: "1024", "512", "256" or "raw"; protocol: the folder of JSON files, "realiad_jsons"
    or another that came with it ("realiad_jsons_sv": one view, "realiad_jsons_fuiad_0.1": noise).
    """

    name: ClassVar[str] = "real_iad"
    left_on_purpose = (("realiad_*", "of another resolution, protocol or category"),)
    types = tuple((name,) for name in TYPES_BY_CODE.values())

    def __init__(
        self,
        resolution: str = "1024",
        protocol: str = "realiad_jsons",
        categories: Sequence[str] | None = None,
    ) -> None:
        if resolution not in RESOLUTIONS:
            raise ValueError(
                f"real_iad resolution is {resolution!r}: expected one of {', '.join(RESOLUTIONS)}"
            )
        self.resolution = resolution
        self.protocol = protocol
        self.categories = categories

    def records(self, root: Path) -> list[Record]:
        """One Record per entry, by category, training entries first; a bad entry is flawed.

        Raises FileNotFoundError for a missing root, layout or category, ValueError for a file
        that is not such JSON.
        """
        images = f"realiad_{self.resolution}"
        tables = self._find_tables(root)
        if not tables or not (root / images).is_dir():
            expected = f"{images}/<category> and {self.protocol}/<category>.json"
            raise absent_layout(root, self.about.title, expected)
        return [record for table in tables for record in self._category(table, images=images)]

    def _find_tables(self, root: Path) -> list[Path]:
        """The JSON files; the archive has its protocols in one more folder, realiad_jsons."""
        folders = [root / self.protocol, root / "realiad_jsons" / self.protocol]
        found = {path.stem: path for folder in folders for path in sorted(folder.glob("*.json"))}
        wanted = sorted(found) if self.categories is None else self.categories
        unknown = [name for name in wanted if name not in found]
        if unknown:
            raise FileNotFoundError(
                f"real_iad category {unknown[0]!r} has no JSON in {root / self.protocol}: "
                f"expected some of {', '.join(sorted(found)) or 'the thirty categories'}"
            )
        return [found[name] for name in wanted]

    def _category(self, table: Path, *, images: str) -> Iterator[Record]:
        content = read_json(table)
        meta = content.get("meta")
        meta = meta if isinstance(meta, dict) else {}
        normal = str(meta.get("normal_class", "OK"))
        folder = f"{images}/{str(meta.get('prefix') or table.stem).strip('/')}"
        for split in SPLITS:
            entries = content.get(split)
            if not isinstance(entries, list):
                raise ValueError(f"{table} lacks a list: expected lists train and test; {REMEDY}")
            for entry in entries:
                if not isinstance(entry, dict) or not isinstance(entry.get("image_path"), str):
                    raise ValueError(f"{table} has an entry without image_path: {REMEDY}")
                yield self._record(
                    entry, folder=folder, category=table.stem, normal=normal, split=split
                )

    def _record(
        self, entry: Mapping[str, object], *, folder: str, category: str, normal: str, split: str
    ) -> Record:
        path, code = str(entry["image_path"]), str(entry.get("anomaly_class"))
        is_good = code == normal
        defect = "" if is_good else TYPES_BY_CODE.get(code, "")
        mask_path = str(entry.get("mask_path") or "")
        mask = f"{folder}/{mask_path}" if mask_path and defect else ""
        image = f"{folder}/{path}"
        flaw = ""
        if not is_good and not defect:
            codes = ", ".join((normal, *TYPES_BY_CODE))
            flaw = f"anomaly_class {code[:20]!r} of {image} is unknown: expected one of {codes}"
        return make_record(
            self,
            image,
            product=normalise_name(category),
            defects=(defect,) if defect else (),
            mask=mask,
            mask_values=grey_values(defect),
            # S0001 exists under OK and under every code: the whole folder names the sample.
            group=f"{category}/{PurePosixPath(path).parent}",
            split=split,
            flaw=flaw,
        )
