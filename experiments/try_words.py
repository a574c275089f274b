"""How often marked regions get names that nothing has trained on, by words alone.

    python -m experiments.try_words --manifest DATA/manifest.parquet \\
        --held_out "blowhole; scratch" --out tried

Regions of the other names are the gallery; those of the held-out names, which the gallery has no
example of, choose among these names (`Gallery.resemble`).
"""

import json
from collections import defaultdict
from pathlib import Path

from experiments.cli import check_is_free, run_command, whole_folder

FIGURES = "figures.json"
HASHED, HASHED_WIDTH = "hashed words", 384
TEMPLATES = ("{}", "a photo of a {}", "a photo of a {} defect")


def try_words(
    *,
    manifest: Path,
    out: Path,
    held_out: str = "",
    held_out_source: str = "",
    text: str = "minilm",
    templates: tuple[str, ...] = TEMPLATES,
    weights: str = "efficientnet_lite0",
    most: int = 40,
    draws: int = 3,
    overwrite: bool = False,
) -> None:
    """Measure how often words name marked regions of types that have no example, chance beside it.

    Each draw takes other regions. Each name counts the same.

    Args:
        manifest: a prepared set, best a merged one of several products
        out: a new folder, for figures.json
        held_out: names that have no example, as typed for --labels
        held_out_source: instead, a set of a merged one, all of whose names are asked for
        text: a text tower by known name, hub name or folder; hashed words stand beside it
        templates: sentences around a name, whose vectors are averaged; each is tried alone too
        weights: of the frozen encoder that regions are compared by
        most: regions of a name in the gallery, and of a name that are named
        draws: how often others are drawn
        overwrite: replace an earlier figures.json in --out
    """
    check_is_free(out, entries=(FIGURES,), overwrite=overwrite)
    from datamodules.manifest import Manifest
    from experiments.inference.word_trial import WordTrial
    from experiments.tables import Table, print_table
    from lightning_modules.nets.region_embedding import RegionEmbedding
    from lightning_modules.nets.text_encoder import HashedTextEncoder, SentenceTextEncoder

    towers = {text: SentenceTextEncoder(text), HASHED: HashedTextEncoder(HASHED_WIDTH)}
    for tower in towers.values():
        tower.load()
    trial = WordTrial(Manifest.open(manifest), RegionEmbedding(weights), towers)
    split = trial.split(held_out, held_out_source)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for draw in range(draws):
        gallery, regions = trial.draw(split, most=most, seed=draw)
        for name in towers:
            for words in (*([one] for one in templates), list(templates)):
                key = name, words[0] if len(words) == 1 else "all of these"
                share = trial.share_right(gallery, regions, split.asked, name, words)
                found[key].append(share)
    right: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for (name, sentence), shares in found.items():
        right[name][sentence] = shares
    chance = 1 / len(split.asked)
    figures = {"asked": split.asked, "chance": chance, "right": right}
    with whole_folder(out, entries=(FIGURES,), overwrite=overwrite) as folder:
        (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    rows = [(*key, sum(one) / draws, min(one), max(one)) for key, one in found.items()]
    rows.append(("chance", "", chance, chance, chance))
    columns = ("words", "sentence", "right", "least", "most")
    print_table(Table(", ".join(split.asked), columns, tuple(rows)))


if __name__ == "__main__":
    run_command(try_words)
