"""Anyone's own images with a labelme JSON beside each, or in a folder of their own.

root/.../<name>.<png|jpg|...>   images; the first folder called train, val or test is the split
root/.../<name>.json            imagePath leads to the image, seen from the JSON
"""

from pathlib import Path
from typing import ClassVar

from datamodules.formats.image_header import read_header
from datamodules.formats.labelme import read_shapes
from datamodules.formats.layout import FileTree, folder_of, join_below, scan_tree, split_of_path
from datamodules.formats.records import RecordMaker
from datamodules.formats.text_files import read_json, whole_number
from datamodules.manifest import Source
from datamodules.sample import Record

LAYOUT = "expected images, each with its labelme .json"


class Labelme(Source):
    """Polygons, circles and masks become masks, rectangles boxes; lines and points are refused.

    A JSON without shapes says that the image is good, unless one of its flags is set: then that
    is its type. unannotated: what an image without JSON is, "unlabelled" or "good".
    labelme shows an image as EXIF turns it, while masks belong to the stored pixels: an image
    with shapes whose stored size is not the one in its JSON is refused, one that EXIF mirrors or
    turns by 180 degrees as well. Only its header is read for that.
    """

    name: ClassVar[str] = "labelme"

    def __init__(
        self,
        unannotated: str = "unlabelled",
        product: str = "part",
        material: str = "",
        licence: str = "",
        group_pattern: str = "",
    ) -> None:
        self.maker = RecordMaker(self, product, material, licence, group_pattern, unannotated)

    def records(self, root: Path) -> list[Record]:
        """One Record per image, those with a JSON first, each part sorted by path.

        Raises FileNotFoundError for no images, ValueError where no JSON is labelme's.
        """
        root = Path(root)
        tree = scan_tree(root, documents=(".json",), remedy=LAYOUT)
        # What a broken JSON belongs to only its own name says.
        stems = {path.rpartition(".")[0]: path for path in tree.images}
        records: dict[str, Record] = {}
        for file in tree.documents:
            record = self._annotated(root, file, tree=tree, beside=stems.get(file[: -len(".json")]))
            if record is not None and record.image in records:
                flaw = f"{record.image} has a second JSON {file}: expected one; remove the other"
                record = self.maker.make_flawed(record.image, flaw)
            if record is not None:
                records[record.image] = record
        if not records:
            raise ValueError(f"{root} holds no JSON with shapes: {LAYOUT}")
        for image in tree.images:
            if image not in records:
                records[image] = self.maker.make(
                    image, split=split_of_path(image), is_labelled=self.maker.counts_as_good
                )
        return list(records.values())

    def _annotated(
        self, root: Path, file: str, *, tree: FileTree, beside: str | None
    ) -> Record | None:
        """The Record of a JSON's image; None for another JSON that lies beside no image."""
        try:
            if (root / file).is_symlink():
                raise ValueError(f"{root / file} is a symbolic link: copy the file it leads to")
            content = read_json(root / file)
        except (ValueError, OSError) as error:
            return self.maker.make_flawed(beside or file, str(error))
        if "shapes" not in content:
            flaw = f"{root / file} has no shapes: expected labelme's JSON beside an image"
            return self.maker.make_flawed(beside, flaw) if beside else None
        try:
            image = find_image(file, str(content.get("imagePath") or ""), tree, beside=beside)
        except ValueError as error:
            return self.maker.make_flawed(file, f"{root / file}: {error}")
        width_px, height_px = (whole_number(content.get(f"image{s}")) for s in ("Width", "Height"))
        flags = content.get("flags")
        regions, flaw = [], ""
        try:
            regions = read_shapes(content["shapes"], root / file, (width_px, height_px))
            flaw = turn_flaw(root / image, (width_px, height_px)) if regions else ""
        except (ValueError, OSError) as error:
            flaw = str(error)
        return self.maker.make(
            image,
            regions=regions,
            types=[k for k, v in flags.items() if v is True] if isinstance(flags, dict) else (),
            split=split_of_path(image),
            size_px=(width_px, height_px),
            flaw=flaw,
        )


def find_image(file: str, image_path: str, tree: FileTree, *, beside: str | None) -> str:
    """The image that imagePath means, seen from the JSON; else the image `beside` it, of its name.

    Else, as images are moved, the one anywhere with the last part of imagePath.
    Raises ValueError for none or several, and for a path that leads out of the root.
    """
    written = image_path.replace("\\", "/")
    if written and not written.startswith("/") and written[1:2] != ":":
        path = join_below(folder_of(file), written)
        if path in tree:
            return path
    return beside or tree.find_image(written.rpartition("/")[2], [folder_of(file)])


def turn_flaw(image: Path, annotated_px: tuple[int, int]) -> str:
    """Why shapes drawn at that size may not belong to the stored pixels, "" where they do.

    Raises ValueError for an image without readable header.
    """
    header = read_header(image)
    stored_px = (header.width_px, header.height_px)
    is_size_told = 0 not in annotated_px
    if is_size_told and annotated_px != stored_px:
        return (
            f"{image} was annotated at {annotated_px[0]} x {annotated_px[1]} px and is stored at "
            f"{stored_px[0]} x {stored_px[1]} px, EXIF orientation {header.orientation}, expected "
            "one size: bring back the image that was annotated, or save its pixels upright"
        )
    # Equal sizes prove that an image which lies on its side was annotated as it is stored.
    lies = is_size_told and header.orientation >= 5 and stored_px[0] != stored_px[1]
    if header.orientation == 1 or lies:
        return ""
    return (
        f"{image} is turned by EXIF orientation {header.orientation}, expected 1: nobody can tell "
        "which way up it was annotated; save its pixels upright, without that tag"
    )
