"""Names by example: vectors of regions that a person named, and what they call another region."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_modules.weights_io import first_line

UNKNOWN = "unknown"
INDEX, VECTORS = "gallery.json", "gallery.safetensors"
NAMED = "name:"  # before the names of tensors
FOLDS = 10
SAME_EXAMPLE = 1e-4  # the distance up to which two vectors are of one
# The least variance that any direction has within a name, of their mean over the examples.
LEAST_VARIANCE = 0.3
# Not under 0.1: nine examples that are all right would make the gallery sure of everything.
TEMPERATURES = torch.logspace(-1, 0.5, 16)
KERNEL_WIDTH = 0.2  # of cosines; 0.15 to 0.25 name alike


@dataclass(frozen=True, slots=True)
class Space:
    """Where cosines tell names apart: what varies within a name counts less.

    deviation: (D,) per entry of a vector over all examples; centre: (D,); directions: (D, r), and
    shrink: (r,), by how much each shrinks, in [0, 1); prototypes: (K, D) of unit length.
    """

    deviation: Tensor
    centre: Tensor
    directions: Tensor
    shrink: Tensor
    prototypes: Tensor

    def cosines(self, vectors: Tensor) -> Tensor:
        """(R, K) cosines of vectors (R, D) and the prototypes."""
        placed = self.placed(vectors / self.deviation - self.centre)
        return torch.nn.functional.normalize(placed, dim=1) @ self.prototypes.T

    def placed(self, centred: Tensor) -> Tensor:
        """Vectors (N, D), already centred, with their common directions shrunk."""
        return centred - (centred @ self.directions * self.shrink) @ self.directions.T


def fit_space(examples: Sequence[Tensor]) -> Space:
    """The space of the examples, K times (N, D): a shrunk linear discriminant, in closed form."""
    everything = torch.cat(list(examples))
    deviation = everything.std(dim=0, correction=0)
    deviation = deviation + deviation.mean() + 1e-6
    scaled = [one / deviation for one in examples]
    means = torch.stack([one.mean(dim=0) for one in scaled])
    # One name alone has nothing to be told from: it is seen from the origin.
    centre = means.mean(dim=0) if len(means) > 1 else torch.zeros_like(means[0])
    within = torch.cat([one - mean for one, mean in zip(scaled, means, strict=True)])
    within = within / max(1, len(within) - len(means)) ** 0.5
    variance, vectors = torch.linalg.eigh((within @ within.T).double())
    kept = variance > 1e-6 * variance[-1].clamp_min(1e-12)
    variance, vectors = variance[kept], vectors[:, kept]
    directions = (within.T.double() @ vectors / variance.sqrt()).to(within)
    least = LEAST_VARIANCE * variance.sum() / min(len(within), within.shape[1])
    shrink = (1 - (least / (variance + least)).sqrt()).to(within)
    space = Space(deviation, centre, directions, shrink, means)
    placed = torch.nn.functional.normalize(space.placed(means - centre), dim=1)
    return Space(deviation, centre, directions, shrink, placed)


@dataclass(frozen=True, slots=True)
class RegionNames:
    """What a gallery says of R regions: probabilities (R, K) of its names, is_unknown (R,) bool."""

    probabilities: Tensor
    is_unknown: Tensor


class Gallery:
    """Example vectors by name, and what is calibrated on them.

    Nothing is trained: a name comes and goes with its examples. fingerprint: of the encoder that
    made the vectors.
    """

    def __init__(self, fingerprint: str, vectors: Mapping[str, Tensor]) -> None:
        """vectors: by name, (N, V, D): N examples in V views each. ValueError for none."""
        self.fingerprint = fingerprint
        self.vectors = {name: one.float().cpu() for name, one in vectors.items() if len(one)}
        if not self.vectors:
            raise ValueError("the gallery has no example: expected one of each name at least")
        self._fit()

    @property
    def names(self) -> tuple[str, ...]:
        """Its names, in the order of probabilities."""
        return tuple(self.vectors)

    def grown(self, vectors: Mapping[str, Tensor]) -> "Gallery":
        """With more examples (N, V, D) of its names or of others; one that it has counts once."""
        grown = dict(self.vectors)
        for name, more in vectors.items():
            own = grown.get(name, more[:0])
            apart = torch.cdist(more.flatten(1).float().cpu(), own.flatten(1).float().cpu())
            is_new = (apart > SAME_EXAMPLE).all(dim=1)
            grown[name] = torch.cat([own.cpu(), more[is_new.to(more.device)].cpu()])
        return Gallery(self.fingerprint, grown)

    def pruned(self, name: str) -> "Gallery":
        """Without a name; ValueError where it has none such, or no other."""
        if name not in self.vectors:
            raise ValueError(
                f"got {name!r} to remove: expected one of the gallery's {', '.join(self.names)}"
            )
        rest = {other: one for other, one in self.vectors.items() if other != name}
        return Gallery(self.fingerprint, rest)

    def name_regions(self, vectors: Tensor) -> RegionNames:
        """The names of regions by their vectors (R, D)."""
        cosines = self.space.cosines(vectors.float().cpu())
        is_unknown = cosines.max(dim=1).values < self.threshold
        return RegionNames((cosines / self.temperature).softmax(dim=1), is_unknown)

    def resemble(self, vectors: Tensor, known: Tensor, asked: Tensor) -> Tensor:
        """(R, N) cosines of regions and names without examples, by what the regions resemble.

        vectors: (R, D); known: (K, D_text) the texts of the gallery's names, asked: (N, D_text) of
        the others. A region stands for the mean of the known texts, each weighted by how like the
        region its examples are; what all known texts share is left aside. `name_regions` seeks what
        tells known names apart, which says little of another.
        """
        examples = [one[:, 0] for one in self.vectors.values()]
        everything = torch.cat(examples)
        mean, deviation = everything.mean(dim=0), everything.std(dim=0, correction=0)
        # An entry that hardly varies among the examples has no say, rather than all of it.
        deviation = deviation.clamp_min(0.1 * float(deviation.mean()) + 1e-6)
        placed, *shown = (
            torch.nn.functional.normalize((one - mean) / deviation, dim=1)
            for one in (vectors.float().cpu(), *examples)
        )
        likeness = [((placed @ one.T - 1) / KERNEL_WIDTH).exp().mean(dim=1) for one in shown]
        centre = known.mean(dim=0)
        meant = torch.stack(likeness, dim=1) @ (known - centre)
        return torch.nn.functional.cosine_similarity(meant[:, None], (asked - centre)[None], dim=2)

    def _fit(self) -> None:
        """The space, and by leave-one-out the temperature and the least cosine of a known name."""
        self.space = fit_space([one.flatten(0, 1) for one in self.vectors.values()])
        own, labels = self._left_out_examples()
        strange = self._left_out_names()
        self.temperature, self.threshold = 0.2, -1.0
        if len(own):
            losses = [
                torch.nn.functional.cross_entropy(own / temperature, labels)
                for temperature in TEMPERATURES
            ]
            self.temperature = float(TEMPERATURES[int(torch.stack(losses).argmin())])
        self.threshold = least_known(own.max(dim=1).values, strange)

    def _left_out_examples(self) -> tuple[Tensor, Tensor]:
        """Cosines (N, K) of examples that the space has not seen, and their names (N,) int64.

        In ten folds where there are many; a name's only example is never left out.
        """
        cosines, labels = [torch.zeros(0, len(self.vectors))], []
        for fold in range(min(FOLDS, max(map(len, self.vectors.values())))):
            rest, left = [], []
            for index, one in enumerate(self.vectors.values()):
                is_left = (torch.arange(len(one)) % FOLDS == fold) & (len(one) > 1)
                rest.append(one[~is_left].flatten(0, 1))
                left.append(one[is_left, 0])
                labels += [index] * int(is_left.sum())
            if any(map(len, left)):
                cosines.append(fit_space(rest).cosines(torch.cat(left)))
        return torch.cat(cosines), torch.tensor(labels, dtype=torch.int64)

    def _left_out_names(self) -> Tensor:
        """The best cosines (N,) of examples whose name the space has not seen."""
        best = [torch.zeros(0)]
        for name, one in self.vectors.items():
            rest = [other.flatten(0, 1) for n, other in self.vectors.items() if n != name]
            if len(rest) > 1:
                best.append(fit_space(rest).cosines(one[:, 0]).max(dim=1).values)
        return torch.cat(best)

    def save(self, folder: str | Path) -> None:
        """Writes gallery.safetensors and gallery.json into a folder, each whole or not at all.

        Vectors lie under their names: where only the first file is new, none has another's.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        index = {"fingerprint": self.fingerprint, "names": self.names}
        vectors = {NAMED + name: one.contiguous() for name, one in self.vectors.items()}
        text = json.dumps(index, indent=2, ensure_ascii=False) + "\n"
        unfinished = folder / f".{INDEX}.unfinished"
        save_file(vectors, unfinished)
        unfinished.replace(folder / VECTORS)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / INDEX)

    @classmethod
    def load(cls, folder: Path, *, fingerprint: str) -> "Gallery":
        """The gallery in a folder; FileNotFoundError, or ValueError, one line, for a broken one and
        one of another encoder.
        """
        if not (folder / INDEX).is_file():
            raise FileNotFoundError(f"no gallery in {folder}: expected {INDEX} and {VECTORS}")
        try:
            tensors = load_file(folder / VECTORS)
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            made_by, names = index["fingerprint"], index["names"]
            by_name = {NAMED + str(name): str(name) for name in names}
            if not by_name.keys() <= tensors.keys():  # as they were saved before, by place
                by_name = {str(place): str(name) for place, name in enumerate(names)}
            vectors = {name: tensors[key] for key, name in by_name.items()}
            shapes = sorted({tuple(one.shape[1:]) for one in vectors.values()})
            if any(len(shape) != 2 for shape in shapes) or len(shapes) > 1:
                raise ValueError(f"its vectors are {shapes} and not of one kind")
        except (SafetensorError, OSError, ValueError, LookupError, TypeError) as error:
            raise ValueError(
                f"gallery {folder} is broken ({first_line(error)}): make it again from its examples"
            ) from error
        if made_by != fingerprint:
            raise ValueError(
                f"gallery {folder} is of the encoder {made_by}, expected {fingerprint}: make it "
                "again from its examples"
            )
        return cls(made_by, vectors)


def least_known(known: Tensor, strange: Tensor) -> float:
    """The cosine under which a region is like no name.

    known: best cosines (N,) of examples that were left out; strange: of examples whose name was.
    As many deviations from the one's mean as from the other's, but at least two below the known:
    where both are mixed nearly all known ones keep their names, for one deviation took them from a
    quarter to three quarters of found regions. The strange ones' mean without known ones.
    """
    if not len(known) + len(strange):
        return -1.0
    (inner, near), (outer, far) = (
        (float(one.mean()), max(float(one.std(correction=0)), 0.02)) if len(one) else (0.0, 0.0)
        for one in (known, strange)
    )
    if not len(known):
        return outer
    balance = (inner * far + outer * near) / (near + far) if len(strange) else inner
    return min(balance, inner - 2 * near)
