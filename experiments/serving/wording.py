"""The words of the page about an image, a region and a list, as HTML or plain text."""

from collections.abc import Sequence
from html import escape

from experiments.serving.desk import Draft, Entry

REVIEW_MARK = "\u2691"


def said(text: str, *, is_wrong: bool = False) -> str:
    """A line of the page."""
    return f"<div class='said{' wrong' * is_wrong}'>{escape(text)}</div>"


def answered(seconds: Sequence[float], count: int, wrong: Sequence[str]) -> str:
    """How many of `count` images are answered, how long each took, and why others are not."""
    mean = sum(seconds) / max(1, len(seconds))
    line = said(f"answered {len(seconds)} of {count}, {mean:.2f} s each")
    return line + "".join(said(one, is_wrong=True) for one in wrong)


def heading_of(draft: Draft) -> str:
    """What an image is called, the machine's answer, and whether a person should look."""
    entry = draft.entry
    machine = entry.machine
    if machine.needs_review:
        mark = "<span class='mark'>needs review</span>"
    else:
        mark = "<span class='mark seen'>clear</span>"
    who = f" · {escape(' and '.join(draft.people))}" if draft.people else ""
    blind = " · second review, the first is hidden" if draft.kind == "second" else ""
    return (
        f"<div id='shown'><span class='name'>{escape(entry.name)}</span>"
        f"<span class='answer'><b>{escape(machine.name)}</b> {machine.image_score:.2f}</span>"
        f"{mark}<span>{entry.seconds:.2f} s{who}{blind}</span></div>"
    )


def region_lines(draft: Draft) -> list[tuple[str, int]]:
    """The lines of the list of regions: number, name, score, and the names that came next."""
    lines = []
    for place, one in enumerate(draft.regions):
        score = "by a person" if one.score is None else f"{one.score:.2f}"
        others = "".join(f", or {name} {share:.0%}" for name, share in one.runners_up)
        lines.append((f"{place + 1} {one.name} · {score}{others}", place))
    return lines


def queue_lines(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """The lines of a list of images and their keys, what needs review with a flag."""
    marks = [f"{REVIEW_MARK} " if one.machine.needs_review else "" for one in entries]
    return [
        (f"{mark}{one.name} \u00b7 {one.machine.name}", one.key)
        for mark, one in zip(marks, entries, strict=True)
    ]
