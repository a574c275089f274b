"""Anyone's own images with COCO annotations, as CVAT, Label Studio and Roboflow export them.

root/annotations/<anything>.json                 or other files, by the setting `annotations`
root/images/.../<name>, root/<split>/<name>, or beside the JSON: images are found by file_name
"""

from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from datamodules.formats.coco import CocoFile, CocoImage, original_names, read_coco
from datamodules.formats.layout import FileTree, folder_of, join_below, scan_tree, split_of_name
from datamodules.formats.records import RecordMaker
from datamodules.manifest import Source
from datamodules.sample import Record

LAYOUT = "expected images and annotations/*.json in COCO's format"


class Coco(Source):
    """Polygons (in several parts too) and run lengths become masks, boxes stay boxes.

    annotations: which files below the root; one named after a split (instances_train2017), or in
    a folder that is, gives its images that split. images: the folder where file_name starts, ""
    for the usual places. group_pattern: see `formats/records.py`.
    unannotated: what a listed image without annotation is. "good" is COCO's meaning, and a trap:
    tools also list images at which nobody has looked yet; for such a set say "unlabelled". A
    file without any list of annotations leaves its images unlabelled.
    """

    name: ClassVar[str] = "coco"

    def __init__(
        self,
        annotations: str = "annotations/*.json",
        images: str = "",
        unannotated: str = "good",
        product: str = "part",
        material: str = "",
        licence: str = "",
        group_pattern: str = "",
    ) -> None:
        self.annotations = annotations
        self.images = images
        self.maker = RecordMaker(self, product, material, licence, group_pattern, unannotated)

    def records(self, root: Path) -> list[Record]:
        """One Record per listed image, files in the order of their names.

        Raises FileNotFoundError for no images or no annotation files, ValueError for a file that
        is no COCO instances file.
        """
        root = Path(root)
        tree = scan_tree(root, documents=(".json",), remedy=LAYOUT)
        records: dict[str, Record] = {}
        places: dict[str, str] = {}
        for file in _find_files(root, self.annotations, tree):
            content = read_coco(root / file, file)
            for entry in content.images:
                record = self._record(entry, content, file=file, tree=tree)
                earlier = records.get(record.image)
                if earlier is not None:
                    flaw = earlier.flaw or (
                        f"{record.image} is listed as {places[record.image]} and as "
                        f"{entry.place}: expected one entry per image"
                    )
                    record = self.maker.make_flawed(record.image, flaw)
                records[record.image] = record
                places[record.image] = entry.place
        return list(records.values())

    def _record(self, entry: CocoImage, content: CocoFile, *, file: str, tree: FileTree) -> Record:
        if not entry.file_name:
            return self.maker.make_flawed(entry.place, entry.flaw)
        try:
            image = _find_image(entry.file_name, self._folders(file), tree)
        except ValueError as error:
            return self.maker.make_flawed(entry.place, entry.flaw or str(error))
        has_annotation = entry.annotation_count > 0
        return self.maker.make(
            image,
            regions=entry.regions,
            types=entry.types,
            split=split_of_name(Path(file).stem) or split_of_name(Path(file).parent.name),
            is_labelled=content.is_annotated and (has_annotation or self.maker.counts_as_good),
            size_px=entry.size_px,
            flaw=entry.flaw,
        )

    def _folders(self, file: str) -> list[str]:
        """Where the images of a file may lie, the likeliest place first."""
        if self.images:
            return [join_below("", self.images)]
        # instances_train2017.json speaks of train2017/ or images/train2017/.
        subset = Path(file).stem.partition("_")[2]
        named = [f"images/{subset}", subset] if subset else []
        return [*named, folder_of(file), "images", ""]


def _find_image(name: str, folders: list[str], tree: FileTree) -> str:
    """The image that an annotation names, also as Label Studio renames it on its way."""
    try:
        return tree.find_image(name, folders)
    except ValueError:
        for original in original_names(name):
            with suppress(ValueError):
                return tree.find_image(original, folders)
        raise


def _find_files(root: Path, pattern: str, tree: FileTree) -> list[str]:
    """The annotation files that the pattern means, sorted; none of them a link."""
    if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(f"annotations is {pattern!r}: expected a pattern below the root, {LAYOUT}")
    # Dot files are what desktops leave behind ("._instances.json").
    found_paths = [path for path in root.glob(pattern) if not path.name.startswith(".")]
    files = sorted(path.relative_to(root).as_posix() for path in found_paths)
    if not files:
        found = ", ".join(tree.documents[:3]) or "no JSON file at all"
        raise FileNotFoundError(
            f"{root} holds no {pattern} but {found}: {LAYOUT}; name other files by "
            "--source.annotations"
        )
    for file in files:
        if (root / file).is_symlink() or file not in tree:
            raise ValueError(
                f"{root / file} is a link or no .json file: expected plain files; copy it there"
            )
    return files
