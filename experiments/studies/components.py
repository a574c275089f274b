"""The main paper's ablation of components: what each part of the system adds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.comparing.charts import bars
from experiments.comparing.estimates import estimate, in_words
from experiments.comparing.paper_figures import ACCURACY, COMPONENTS, IOU
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, STAGE1, finetune, rows

FULL, CAPTIONS = "full", "captions"
NO_IMPLICIT_TEXT, NO_CONDITION, NO_GROUNDING = "no_implicit_text", "no_condition", "no_grounding"
CONTEXT, SUPERVISION = "model.init_args.context", "model.init_args.supervision"
TEXT_SHARE = "pretrain.model.init_args.text_conditioning_probability"
NULL_SHARE = "pretrain.model.init_args.null_probability"
# What each is measured against: L_ground where nothing but captions tells the types.
BASES: Mapping[str, str] = {
    NO_IMPLICIT_TEXT: FULL,
    NO_CONDITION: FULL,
    CAPTIONS: FULL,
    NO_GROUNDING: CAPTIONS,
}


class Components(Study):
    """The system, and the system without one of its parts.

    `no_implicit_text`: stage 1 reads real captions and no pseudo-captions, stage 2 no text.
    `no_condition`: neither reads any. `captions`: types are learned from captions by L_ground in
    the place of labels, and `no_grounding` is that without L_ground (the paper does not say what
    is left then; here objects are told from nothing by the phrases of their own captions).
    """

    def variants(self) -> Sequence[Variant]:
        """Three kinds of stage 1, and the stages 2 on them."""
        of_text = replace(STAGE1, name="stage1_text", settings={TEXT_SHARE: 1.0})
        of_nothing = replace(STAGE1, name="stage1_nothing", settings={NULL_SHARE: 1.0})
        return [
            STAGE1,
            of_text,
            of_nothing,
            finetune(FULL, {}),
            finetune(NO_IMPLICIT_TEXT, {CONTEXT: "none"}, stage1=of_text.name),
            finetune(NO_CONDITION, {CONTEXT: "none"}, stage1=of_nothing.name),
            finetune(CAPTIONS, {SUPERVISION: "captions"}),
            finetune(NO_GROUNDING, {SUPERVISION: "captions_ungrounded"}),
        ]

    def report(self, results: Results) -> Report:
        """The table, and what each part changes over the same seeds."""
        labels = {name: {"system": name} for name in (FULL, *BASES)}
        table = PaperTable(
            "components",
            "Ablation of components",
            ("system",),
            rows(results, labels, (ACCURACY, IOU), COMPONENTS),
        )
        chart = bars({name: results.of(name, METRICS[IOU]) for name in labels}, y=IOU)
        return Report((table,), {IOU: chart}, tuple(self.answers(results)))

    def answers(self, results: Results) -> list[str]:
        """The differences to what each is measured against."""
        said = []
        for name, base in BASES.items():
            for figure in (ACCURACY, IOU):
                change = estimate(results.differences(name, base, METRICS[figure]))
                if change:
                    said.append(f"{name} instead of {base}: {figure} {in_words(change)}")
        return said
