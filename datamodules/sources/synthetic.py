"""Rendered surfaces with exact defect masks: a data set that needs no download.

What the images look like is `datamodules/rendering/`; here they become files and Records.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from datamodules.captions import Caption
from datamodules.formats.records import grey_values, make_record
from datamodules.language.descriptors import morphology_of
from datamodules.manifest import Source
from datamodules.rendering.defects import DEFECTS, Defect, add_defect
from datamodules.rendering.materials import MATERIALS, Material
from datamodules.sample import Record
from datamodules.vocabulary import Vocabulary
from datamodules.whole_files import whole

RENDERING_VERSION = 2
SMALLEST_IMAGE_PX = 64
CAPTIONS_FILE = "captions.json"
SYNONYMS = {
    "scratch": ("scuff", "score mark"),
    "crack": ("fissure", "fracture"),
    "hole": ("puncture", "pit"),
    "stain": ("discoloration", "smear"),
    "dent": ("indentation", "dimple"),
    "missing part": ("broken off piece", "chipped corner"),
    "inclusion": ("foreign particle", "embedded grain"),
    "fray": ("frayed edge", "loose fibres"),
}


class Synthetic(Source):
    """Rendered images of six materials with eight types of defect, equal for an equal seed.

    Settings name the folder under root, so that sets with other settings lie side by side.
    synonyms: the types have two words more; without, no training hears these.
    """

    name: ClassVar[str] = "synthetic"
    left_on_purpose = (("*", "rendered with other settings"),)
    types = tuple((defect.name, *SYNONYMS[defect.name]) for defect in DEFECTS)

    def __init__(
        self,
        image_count: int = 240,
        image_size_px: int = 128,
        *,
        seed: int = 0,
        good_fraction: float = 0.25,
        synonyms: bool = True,
    ) -> None:
        for name, value, is_possible, expected in (
            ("image_count", image_count, image_count >= 1, "1 or more"),
            ("image_size_px", image_size_px, image_size_px >= SMALLEST_IMAGE_PX, "64 or more"),
            ("good_fraction", good_fraction, 0 <= good_fraction <= 1, "0 to 1"),
            ("seed", seed, seed >= 0, "0 or more"),
        ):
            if not is_possible:
                raise ValueError(f"synthetic {name} is {value}: expected {expected}")
        self.image_count = image_count
        self.image_size_px = image_size_px
        self.seed = seed
        self.good_fraction = good_fraction
        self.synonyms = synonyms

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """All types whichever occur, with their synonyms where they are wanted."""
        known = super().vocabulary(records)
        return known if self.synonyms else Vocabulary.from_names(known.names[1:])

    def records(self, root: Path) -> list[Record]:
        """One Record per image; the images are rendered under root where they are not yet.

        Raises OSError where root cannot be written.
        """
        folder = root / self._folder_name()
        if not (folder / CAPTIONS_FILE).is_file():
            self._render_all(folder)
        captions = json.loads((folder / CAPTIONS_FILE).read_text(encoding="utf-8"))
        return [self._record(index, Caption(**caption)) for index, caption in enumerate(captions)]

    def _folder_name(self) -> str:
        return (
            f"synthetic_{self.image_count}x{self.image_size_px}px_seed{self.seed}"
            f"_good{self.good_fraction:g}_v{RENDERING_VERSION}"
        )

    def _plan(self) -> list[tuple[Material, Defect | None]]:
        """What every image shows: materials and defects in turn, in an order drawn by seed."""
        good_count = round(self.image_count * self.good_fraction)
        plan: list[tuple[Material, Defect | None]] = [
            (MATERIALS[k % len(MATERIALS)], None) for k in range(good_count)
        ]
        for k in range(self.image_count - good_count):
            # Each round of all defects starts at the next material: every pair occurs.
            turn, kind = divmod(k, len(DEFECTS))
            plan.append((MATERIALS[(turn + kind) % len(MATERIALS)], DEFECTS[kind]))
        order = np.random.default_rng([self.seed]).permutation(self.image_count)
        return [plan[k] for k in order]

    def _render_all(self, folder: Path) -> None:
        with whole(folder) as partial:
            (partial / "images").mkdir(parents=True)
            (partial / "masks").mkdir()
            captions = [
                asdict(self._render(index, material, defect, into=partial))
                for index, (material, defect) in enumerate(self._plan())
            ]
            (partial / CAPTIONS_FILE).write_text(json.dumps(captions, indent=1), encoding="utf-8")

    def _render(
        self, index: int, material: Material, defect: Defect | None, *, into: Path
    ) -> Caption:
        """What is said of image `index`, whose files are now in folder `into`."""
        rng = np.random.default_rng([self.seed, index])
        image = material.draw(rng, self.image_size_px)
        mask = np.zeros(image.shape[:2], bool)
        caption = Caption(material.product, material.material)
        if defect is not None:
            severity = float(rng.uniform())
            image, mask = add_defect(rng, image, defect, severity=severity)
            caption = _describe(rng, material, defect, mask=mask, severity=severity)
        file_name = _file_name(index)
        pixels = np.round(image * 255).astype(np.uint8)
        _write_png(into / "images" / file_name, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        _write_png(into / "masks" / file_name, mask.astype(np.uint8) * 255)
        return caption

    def _record(self, index: int, caption: Caption) -> Record:
        record = make_record(
            self,
            f"{self._folder_name()}/images/{_file_name(index)}",
            product=caption.product,
            defects=(caption.defect,) if caption.defect else (),
            mask=f"{self._folder_name()}/masks/{_file_name(index)}",
            mask_values=grey_values(caption.defect, largest_good=127),
            group=f"{index:05d}",
        )
        return replace(record, caption=caption)


def _file_name(index: int) -> str:
    return f"{index:05d}.png"


def _describe(
    rng: np.random.Generator,
    material: Material,
    defect: Defect,
    *,
    mask: np.ndarray,
    severity: float,
) -> Caption:
    """The words that rendering knows; the place is inspection's, for all sources alike."""
    contrast = "faint" if severity < 1 / 3 else "clear" if severity < 2 / 3 else "strong"
    return Caption(
        product=material.product,
        material=material.material,
        defect=defect.name,
        morphology=f"{morphology_of(mask)}, {defect.look}, of {contrast} contrast",
        cause=defect.causes[rng.integers(len(defect.causes))],
    )


def _write_png(path: Path, pixels: np.ndarray) -> None:
    # Encoded in memory first: cv2.imwrite only answers False on a full disk.
    encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]
    path.write_bytes(encoded.tobytes())
