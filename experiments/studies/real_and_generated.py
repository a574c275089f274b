"""Section 6.4: how far drawn pictures are from real ones, beside how far other real ones are."""

from collections.abc import Sequence

from experiments.comparing.paper_tables import PaperTable, Report, Row
from experiments.comparing.study_plan import Results, Study, Variant

SPLIT = "generation/train"
KINDS = ("fid", "kid", "is", "diversity", "nearest")
DRAWN, JUDGED = "drawn", "judged"
STAGE1 = Variant("stage1", is_stage1=True)  # the base is a stage 1 alone


class RealAndGenerated(Study):
    """A stage 1 draws each caption, a net judges the pictures beside the real ones of `manifest`.

    extractor, weights: the net that judges and its file; judging: further words of
    experiments.fidelity, such as ["--pixel_mean", "0.5"]; count: pictures of each caption;
    pretrained: a stage 1 that is there already, "" to train the base's.
    """

    def __init__(
        self,
        manifest: str,
        captions: tuple[str, ...],
        extractor: str,
        weights: str,
        judging: tuple[str, ...] = (),
        count: int = 4,
        steps: int = 50,
        pretrained: str = "",
    ) -> None:
        self.manifest, self.captions = manifest, captions
        self.extractor, self.weights, self.judging = extractor, weights, judging
        self.count, self.steps, self.pretrained = count, steps, pretrained

    def variants(self) -> Sequence[Variant]:
        """A stage 1 unless one is named, its pictures, and their judgement."""
        prompts = [word for caption in self.captions for word in ("--prompt", caption)]
        sampling = ("--count", str(self.count), "--steps", str(self.steps), "--seed", "{seed}")
        drawn = Variant(
            DRAWN,
            flags=(
                *("--checkpoint", self.pretrained or "{stage1}", *prompts, *sampling),
                *("--out", "{here}", "--overwrite"),
            ),
            needs=() if self.pretrained else (STAGE1.name,),
            module="experiments.generate",
        )
        judged = Variant(
            JUDGED,
            flags=(
                *("--real", self.manifest, "--generated", "{drawn}", "--out", "{here}"),
                *("--extractor", self.extractor, "--weights", self.weights, *self.judging),
                "--overwrite",
            ),
            needs=(DRAWN,),
            module="experiments.fidelity",
            results="results.json",
        )
        return [*([] if self.pretrained else [STAGE1]), drawn, judged]

    def report(self, results: Results) -> Report:
        """Each distance of drawn pictures, and of held-out real ones by the same net."""
        found = tuple(
            self.row(results, figure, pictures)
            for figure in KINDS
            for pictures in ("drawn", "held_out")
            if (figure, pictures) != ("is", "held_out")
        )
        title = "Section 6.4: real and generated pictures"
        return Report((PaperTable("section_6_4", title, ("pictures",), found),))

    def row(self, results: Results, figure: str, pictures: str) -> Row:
        """One distance; the real pictures' own diversity stands for held-out ones."""
        of_real = "real" if figure == "diversity" else "held_out"
        middle = "" if pictures == "drawn" else f"{of_real}_"
        return Row(
            {"pictures": pictures},
            f"{figure}_{self.extractor}",
            results.of(JUDGED, f"{SPLIT}/{figure}_{middle}{self.extractor}"),
            setting="full",
            data=self.manifest,
            runs=tuple(results.run_ids(JUDGED)),
        )
