"""Table 6: trained on one set, tested on another of which only the names are given."""

from collections.abc import Mapping, Sequence

from experiments.comparing.paper_figures import ACCURACY, IOU, TRANSFER
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import MANIFEST, METRICS, rows, tested_again

LEAK_FREE, LITERAL = "leak_free", "paper_literal"


class Transfer(Study):
    """Every set's stage 2 tested on every set.

    sets: manifests by name. seen_before: of the sets, those that stage 1 has seen; sharing: pairs
    of sets that have pictures in common. A test on what was seen before is as the paper did it,
    literally, and any other is free of leaks (NOTES 21).
    """

    def __init__(
        self,
        sets: dict[str, str],
        seen_before: tuple[str, ...] = (),
        sharing: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.sets: Mapping[str, str] = sets
        named = {*seen_before, *(name for pair in sharing for name in pair)}
        if unknown := named - sets.keys():
            raise ValueError(
                f"seen_before or sharing names {min(unknown)!r}: expected some of {', '.join(sets)}"
            )
        self.seen_before, self.sharing = seen_before, [set(pair) for pair in sharing]

    def variants(self) -> Sequence[Variant]:
        """A training per set, whose own test is the diagonal, and a test on each other set."""
        trained = [Variant(train, {MANIFEST: file}) for train, file in self.sets.items()]
        tested = [
            tested_again(name_of(train, test), train, {MANIFEST: file})
            for train in self.sets
            for test, file in self.sets.items()
            if test != train
        ]
        return [*trained, *tested]

    def report(self, results: Results) -> Report:
        """The matrix as rows, and how much of the diagonal is left elsewhere."""
        labels = {
            name_of(train, test): {
                "train": train,
                "test": test,
                "protocol": self.protocol(train, test),
            }
            for train in self.sets
            for test in self.sets
        }
        columns = ("train", "test", "protocol")
        papers = {f"{train}_to_{test}": figures for (train, test), figures in TRANSFER.items()}
        known = {variant: papers.get(variant, {}) for variant in labels}
        table = PaperTable(
            "table_6", "Table 6: transfer", columns, rows(results, labels, (ACCURACY, IOU), known)
        )
        return Report((table,), answers=tuple(self.answers(results)))

    def protocol(self, train: str, test: str) -> str:
        """Whether training or stage 1 may have seen pictures of the test."""
        is_known = test in self.seen_before or {train, test} in self.sharing
        return LITERAL if is_known else LEAK_FREE

    def answers(self, results: Results) -> list[str]:
        """For each test, the share of its own training's accuracy that the others reach."""
        said = []
        for test in self.sets:
            own = results.of(test, METRICS[ACCURACY])
            for train in self.sets:
                other = results.of(name_of(train, test), METRICS[ACCURACY])
                if own and other and train != test:
                    said.append(
                        f"{train} to {test}: {ACCURACY} {other.mean:.3f}, "
                        f"trained on it {own.mean:.3f}"
                    )
        return said


def name_of(train: str, test: str) -> str:
    """The variant that was trained on one set and tested on the other."""
    return train if train == test else f"{train}_to_{test}"
