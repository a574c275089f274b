"""Table 6: trained on one set, tested on another of which only the names are given."""

from collections.abc import Sequence

from experiments.reporting.paper_figures import ACCURACY
from experiments.reporting.plan import Study
from experiments.reporting.usual_report import Results, UsualReport

LEAK_FREE, LITERAL = "leak_free", "paper_literal"


class Transfer(UsualReport):
    """The usual table with each test's protocol, and how far a test is from its own training.

    seen_before: sets that stage 1 has seen; sharing: pairs of sets that have images in common. A
    test on what was seen before is as the paper did it, literally; any other is free of leaks.
    """

    def __init__(
        self,
        seen_before: tuple[str, ...] = (),
        sharing: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.seen_before, self.sharing = seen_before, [set(pair) for pair in sharing]

    def labels(self, study: Study) -> dict[str, dict[str, str]]:
        """The sets of training and test and the protocol; ValueError for a set that is none."""
        sets = list(dict.fromkeys(said["test"] for said in study.labels.values()))
        named = {*self.seen_before, *(name for pair in self.sharing for name in pair)}
        if unknown := named - {*sets}:
            raise ValueError(
                f"seen_before or sharing names {min(unknown)!r}: expected some of {', '.join(sets)}"
            )
        return {
            name: {**said, "protocol": self.protocol(said["train"], said["test"])}
            for name, said in sorted(
                study.labels.items(),
                key=lambda item: (sets.index(item[1]["train"]), sets.index(item[1]["test"])),
            )
        }

    def protocol(self, train: str, test: str) -> str:
        """Whether training or stage 1 may have seen images of the test."""
        is_known = test in self.seen_before or {train, test} in self.sharing
        return LITERAL if is_known else LEAK_FREE

    def answers(self, study: Study, results: Results) -> Sequence[str]:
        """For each test, its own training's accuracy and that of the others."""
        metric = study.metric_of(ACCURACY)
        names = {(one["train"], one["test"]): name for name, one in study.labels.items()}
        sets = dict.fromkeys(test for _, test in names)
        return [
            f"{train} to {test}: {ACCURACY} {other.mean:.3f}, trained on it {own.mean:.3f}"
            for test in sets
            for train in sets
            if train != test and (train, test) in names and (test, test) in names
            if (own := results.of(names[test, test], metric))
            and (other := results.of(names[train, test], metric))
        ]
