"""Anyone's own pictures with a labelme JSON beside each, or in a folder of their own.

root/.../<name>.<png|jpg|...>   pictures; the first folder called train, val or test is the split
root/.../<name>.json            imagePath leads to the picture, seen from the JSON
"""

from pathlib import Path
from typing import ClassVar

from datamodules.about import About
from datamodules.formats.file_tree import FileTree, folder_of, join_below, scan_tree
from datamodules.formats.labelme_json import LabelmePicture, read_labelme
from datamodules.formats.picture_header import PictureHeader, read_header
from datamodules.formats.record_maker import RecordMaker, check_unannotated
from datamodules.formats.split_words import split_of_path
from datamodules.manifest import Source
from datamodules.sample import Record

LAYOUT = "expected pictures, each with its labelme .json"


class Labelme(Source):
    """Polygons, circles and masks become masks, rectangles boxes; lines and points are refused.

    A JSON without shapes says that the picture is good, unless one of its flags is set: then that
    is its type. unannotated: what a picture without JSON is, "unlabelled" or "good".
    labelme shows a picture as EXIF turns it, while masks belong to the stored pixels: a picture
    with shapes whose stored size is not the one in its JSON is refused, one that EXIF mirrors or
    turns by 180 degrees as well. Only its header is read for that.
    """

    name: ClassVar[str] = "labelme"
    about: ClassVar[About] = About(
        title="Your own pictures with labelme annotations",
        licence="your own",
        licence_url="",
        citation="",
        homepage="",
        instructions=(
            "nothing to fetch: point --root at the folder of your pictures and labelme's .json"
        ),
    )

    def __init__(
        self,
        unannotated: str = "unlabelled",
        product: str = "part",
        material: str = "",
        licence: str = "",
        group_pattern: str = "",
    ) -> None:
        self.counts_as_good = check_unannotated(unannotated)
        licence = licence or self.about.licence
        self.maker = RecordMaker(self.name, product, material, licence, group_pattern)

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, those with a JSON first, each part sorted by path.

        Raises FileNotFoundError for no pictures, ValueError where no JSON is labelme's.
        """
        root = Path(root)
        tree = scan_tree(root, documents=(".json",), remedy=LAYOUT)
        # What a broken JSON belongs to is told by its own name alone.
        stems = {path.rpartition(".")[0]: path for path in tree.pictures}
        records: dict[str, Record] = {}
        for file in tree.documents:
            record = self._annotated(root, file, tree=tree, twin=stems.get(file[: -len(".json")]))
            if record is not None and record.image in records:
                flaw = f"{record.image} has a second JSON {file}: expected one; remove the other"
                record = self.maker.make_flawed(record.image, flaw)
            if record is not None:
                records[record.image] = record
        if not records:
            raise ValueError(f"{root} holds no JSON with shapes: {LAYOUT}")
        for image in tree.pictures:
            if image not in records:
                records[image] = self.maker.make(
                    image, split=split_of_path(image), is_labelled=self.counts_as_good
                )
        return list(records.values())

    def _annotated(
        self, root: Path, file: str, *, tree: FileTree, twin: str | None
    ) -> Record | None:
        """The Record of a JSON's picture; None for a JSON that is neither labelme's nor a twin."""
        try:
            if (root / file).is_symlink():
                raise ValueError(f"{root / file} is a symbolic link: copy the file it leads to")
            found = read_labelme(root / file)
        except (ValueError, OSError) as error:
            return self.maker.make_flawed(twin or file, str(error))
        if found is None:
            flaw = f"{root / file} has no shapes: expected labelme's JSON beside a picture"
            return self.maker.make_flawed(twin, flaw) if twin else None
        try:
            image = find_picture(file, found, tree, twin=twin)
        except ValueError as error:
            return self.maker.make_flawed(file, f"{root / file}: {error}")
        return self.maker.make(
            image,
            regions=found.regions,
            types=found.types,
            split=split_of_path(image),
            size_px=found.size_px,
            flaw=found.flaw or turn_flaw(root / image, found),
        )


def find_picture(file: str, found: LabelmePicture, tree: FileTree, *, twin: str | None) -> str:
    """The picture that imagePath means, seen from the JSON; else the JSON's `twin` by name.

    Else, as pictures are moved, the one anywhere with the last part of imagePath.
    Raises ValueError for none or several, and for a path that leads out of the root.
    """
    written = found.image_path.replace("\\", "/")
    if written and not written.startswith("/") and written[1:2] != ":":
        path = join_below(folder_of(file), written)
        if path in tree:
            return path
    return twin or tree.find_picture(written.rpartition("/")[2], [folder_of(file)])


def turn_flaw(picture: Path, found: LabelmePicture) -> str:
    """Why the shapes do not belong to the stored pixels of a picture, "" where they do.

    A picture without shapes has nothing to turn; an unreadable one is refused by who opens it.
    """
    if not found.regions:
        return ""
    try:
        header = read_header(picture)
    except (ValueError, OSError) as error:
        return str(error)
    width_px, height_px = found.size_px
    if 0 in found.size_px or found.size_px == (header.width_px, header.height_px):
        return _mirror_flaw(picture, header, is_size_known=0 not in found.size_px)
    stored = f"{header.width_px} x {header.height_px} px"
    if header.orientation >= 5 and (height_px, width_px) == (header.width_px, header.height_px):
        return (
            f"{picture} was annotated upright ({width_px} x {height_px} px) and is stored lying "
            f"({stored}), expected one size: save its pixels upright, without EXIF orientation"
        )
    return (
        f"{picture} was annotated at {width_px} x {height_px} px and is stored at {stored}, "
        "expected one size: bring back the picture that was annotated"
    )


def _mirror_flaw(picture: Path, header: PictureHeader, *, is_size_known: bool) -> str:
    """Whether EXIF may have moved the shapes although the sizes do not tell."""
    is_lying = header.orientation >= 5 and header.width_px != header.height_px
    if header.orientation == 1 or (is_lying and is_size_known):
        return ""
    return (
        f"{picture} is turned by EXIF orientation {header.orientation}, expected 1: nobody can "
        "tell which way up it was annotated; save its pixels upright, without that tag"
    )
