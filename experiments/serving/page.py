"""The page in a browser: the only file that knows Gradio. What it shows and does is `desk.py`.

No path comes from a client: Gradio hands over files that were uploaded to this server and no
others. Nothing comes from the network: fonts are the system's, and the page's policy says so.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any

import gradio as gr

from datamodules.captions import Caption
from experiments.cli import error_line, is_user_error
from experiments.serving.agreement import write_agreement
from experiments.serving.canvas import Canvas
from experiments.serving.desk import (
    CAPTION_FIELDS,
    LISTS,
    Desk,
    Draft,
    known_names,
    opened,
    pixels_of,
)
from experiments.serving.downloads import TOOLS, Tool, write_archive
from experiments.serving.policy import CLOSED
from experiments.serving.regions import draw_regions, type_of
from experiments.serving.wording import answered, heading_of, queue_lines, region_lines, said

STYLE, SCRIPT = (Path(__file__).with_name(f"page.{end}") for end in ("css", "js"))
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Helvetica Neue", "Arial", "sans-serif")
MONOSPACED = ("ui-monospace", "Consolas", "monospace")
# Puts what is painted in place of the second input.
PAINTED = "(canvas, _, ...others) => [canvas, window.painted(), ...others]"
TO_REVIEW, MOST_LISTED = next(iter(LISTS)), 200
Updates = dict[Any, Any]  # component -> its new value, as Gradio takes them


def refusing(handler: Callable[..., Updates]) -> Callable[..., Updates]:
    """The handler; what a user or a file can cause is one line on the page and changes nothing."""

    @wraps(handler)
    def answer(page: "Page", *values: Any) -> Updates:
        try:
            return handler(page, *values)
        except Exception as error:
            if not is_user_error(error):
                raise
            return {page.message: said(error_line(error), is_wrong=True)}

    return answer


def small_button(label: str, name: str) -> gr.Button:
    """A button beside others; name: by which scripts and styles find it."""
    return gr.Button(label, size="sm", elem_id=name, min_width=60)


class Page:
    """The components, what they do, and the server that shows them."""

    def __init__(self, desk: Desk, *, words: str, reviewer: str, place: Path) -> None:
        """words: of the first answers; reviewer: "" where the page asks; place: for archives."""
        self.desk, self.place = desk, place
        with gr.Blocks(title="DiffuseDefect", analytics_enabled=False, fill_width=True) as blocks:
            self.blocks = blocks
            self.draft, self.drawing = gr.State(None), gr.State(None)
            self._build_head(reviewer)
            with gr.Row(elem_id="columns"):
                with gr.Column(scale=2, min_width=260):
                    self._build_queue(words)
                with gr.Column(scale=5, min_width=420):
                    self._build_image()
                with gr.Column(scale=2, min_width=260):
                    self._build_actions()
            self._build_reports()
            self._connect()

    def _build_head(self, reviewer: str) -> None:
        with gr.Row(equal_height=True):
            gr.HTML(
                "<h1>DiffuseDefect</h1><p>drop images, correct what is wrong, accept "
                "<kbd>a</kbd>, next <kbd>n</kbd></p>",
                elem_id="head",
            )
            self.reviewer = gr.Textbox(
                reviewer, label="Who reviews", placeholder="your name", elem_id="reviewer", scale=0,
                min_width=240, max_lines=1,
            )  # fmt: skip
        self.message = gr.HTML(said("drop one image or many to begin"), elem_id="message")

    def _build_queue(self, words: str) -> None:
        self.drop = gr.File(file_count="multiple", label="Drop images", elem_id="drop", height=130)
        self.words = gr.Textbox(
            words, label="Words", elem_id="words", lines=2,
            info="classes parted by ';', synonyms by ',', 'not shadow' for what is no defect",
        )  # fmt: skip
        self.again = small_button("Answer again in these words", "again")
        self.shown = gr.Radio(list(LISTS), value=TO_REVIEW, label="List", elem_id="list")
        self.queue = gr.Radio([], label="Images", elem_id="queue")

    def _build_image(self) -> None:
        self.heading = gr.HTML("", elem_id="heading")
        with gr.Row() as self.viewing:
            self.image = gr.Image(
                show_label=False, interactive=False, buttons=["fullscreen"], format="jpeg",
                elem_id="image", height=560,
            )  # fmt: skip
            self.other = gr.Image(
                label="second person", interactive=False, buttons=[], format="jpeg",
                visible=False, elem_id="other", height=560,
            )  # fmt: skip
        with gr.Row(visible=False) as self.canvas:
            self.is_box = gr.Checkbox(False, label="the box around it", elem_id="is_box")
            self.keep = gr.Button("Keep the drawing", variant="primary", elem_id="keep")
            self.drop_drawing = gr.Button("Cancel", elem_id="cancel")
        self.easel = gr.HTML("", visible=False, elem_id="easel_place")
        # What was painted goes through it; the script fills it in when it is asked for.
        self.paint = gr.Textbox(visible=False)

    def _build_actions(self) -> None:
        with gr.Row():
            self.accept = gr.Button("Accept (a)", variant="primary", elem_id="accept", min_width=90)
            self.next = gr.Button("Next (n)", elem_id="next", min_width=90)
        self.take_other = gr.Button("Take the second person's", visible=False, elem_id="take_other")
        self.regions = gr.Radio([], label="Regions", elem_id="regions")
        # A Dropdown that takes any value stays open over the buttons above it.
        self.name = gr.Textbox(label="Name", max_lines=1, elem_id="name")
        with gr.Row():
            self.rename = small_button("Rename", "rename")
            self.redraw = small_button("Redraw", "redraw")
            self.delete = small_button("Delete", "delete")
        with gr.Row():
            self.new = small_button("New region", "new")
            self.example = small_button("Use as example", "example")
        with gr.Accordion("Caption", open=False, elem_id="caption"):
            self.fields = [
                gr.Textbox(label=field, max_lines=1, elem_id=f"caption_{field}")
                for field in CAPTION_FIELDS
            ]

    def _build_reports(self) -> None:
        with gr.Accordion("Agreement and downloads", open=False, elem_id="reports"):
            with gr.Row():
                self.measure = small_button("How far do people agree?", "measure")
                self.downloads = {
                    tool: gr.DownloadButton(f"Download {label}", size="sm", elem_id=tool)
                    for tool, label in TOOLS.items()
                }
            self.agreement = gr.Markdown(elem_id="agreement")

    def _connect(self) -> None:
        """Says what happens when; each handler gives new values of what it changes."""
        view = [
            self.draft, self.drawing, self.message, self.heading, self.image, self.other,
            self.viewing, self.easel, self.canvas, self.take_other, self.regions, self.name,
            self.queue, *self.fields,
        ]  # fmt: skip
        at = [self.draft, self.regions]
        who = [self.draft, self.reviewer, self.shown]
        drawn = [self.drawing, self.paint, self.is_box, self.name, self.draft]
        asked = [self.words, self.reviewer, self.shown, self.draft]
        shared = {"api_visibility": "private", "show_progress": "hidden"}
        # One after the other, as they came: two at once would both start from the same draft.
        edits = shared | {"concurrency_id": "edits", "concurrency_limit": 1}
        self.drop.upload(self.on_drop, [self.drop, *asked], [*view, self.drop], **shared)
        self.again.click(self.on_again, asked, view, **shared)
        self.shown.input(self.on_next, who, view, **edits)
        self.reviewer.change(self.on_reviewer, who, view, **shared)
        self.queue.input(self.on_open, [self.queue, self.shown], view, **edits)
        self.regions.input(self.on_select, [*at, *self.fields], view, **edits)
        self.rename.click(self.on_rename, [*at, self.name, *self.fields], view, **edits)
        self.name.submit(self.on_rename, [*at, self.name, *self.fields], view, **edits)
        self.delete.click(self.on_delete, [*at, *self.fields], view, **edits)
        self.redraw.click(self.on_redraw, at, view, **edits)
        self.new.click(self.on_new, self.draft, view, **edits)
        self.keep.click(self.on_keep, [*drawn, *self.fields], view, js=PAINTED, **edits)
        self.drop_drawing.click(self.on_select, [*at, *self.fields], view, **edits)
        self.example.click(self.on_example, [*drawn, self.regions], view, js=PAINTED, **shared)
        self.take_other.click(self.on_take_other, [self.draft, *self.fields], view, **edits)
        self.accept.click(self.on_accept, [*who, *self.fields], view, **edits)
        self.next.click(self.on_next, who, view, **edits)
        self.measure.click(self.on_measure, None, [self.agreement, self.message], **shared)
        for tool, button in self.downloads.items():
            button.click(partial(self.on_download, tool), None, [button, self.message], **shared)
        self.blocks.load(self.on_reviewer, who, view, **shared)

    def view(self, draft: Draft | None, *, place: int | None = None, line: str = "") -> Updates:
        """What shows an image as a person has it open; place: of the selected region."""
        shown: Updates = {
            self.draft: draft,
            self.drawing: None,
            self.viewing: gr.update(visible=True),
            self.canvas: gr.update(visible=False),
            self.easel: gr.update(visible=False, value=""),
        }
        shown |= {self.message: said(line)} if line else {}
        if draft is None:
            hidden = dict.fromkeys((self.other, self.take_other), gr.update(visible=False))
            empty = {self.heading: "", self.image: None}
            return shown | hidden | empty | {self.regions: gr.update(choices=[], value=None)}
        names, pixels = known_names(self.desk, draft), pixels_of(draft)
        if place is None and draft.regions:
            place = 0
        is_consensus = bool(draft.other or len(draft.people) > 1)
        caption = self.desk.caption(draft)
        other = draw_regions(pixels, draft.other, names) if is_consensus else None
        name = draft.regions[place].name if place is not None else None
        return shown | {
            self.heading: heading_of(draft),
            self.image: draw_regions(pixels, draft.regions, names, selected=place),
            self.other: gr.update(visible=is_consensus, value=other),
            self.take_other: gr.update(visible=is_consensus),
            self.regions: gr.update(choices=region_lines(draft), value=place),
            self.name: gr.update(info=f"any, as {', '.join(names[1:])}", value=name),
            **{
                box: getattr(caption, field)
                for box, field in zip(self.fields, CAPTION_FIELDS, strict=True)
            },
        }

    def listed(self, shown: str, reviewer: str, **marked: str | None) -> Updates:
        """The queue of a list; marked: as `value` the open image, without it the mark stays."""
        found = self.desk.queue(shown, reviewer)
        lines, label = queue_lines(found[:MOST_LISTED]), f"Images: {len(found)} {shown}"
        return {self.queue: gr.update(choices=lines, label=label, **marked)}

    def on_drop(
        self, files: list[str] | None, words: str, reviewer: str, shown: str, draft: Draft | None
    ) -> Iterator[Updates]:
        """Answers what was dropped, one after the other."""
        images = [(Path(file).name, Path(file)) for file in files or []]
        for updates in self._answer(images, words, reviewer, shown, draft):
            yield updates | {self.drop: None}

    def on_again(
        self, words: str, reviewer: str, shown: str, draft: Draft | None
    ) -> Iterator[Updates]:
        """Answers what nobody has reviewed yet in other words."""
        waiting = [(one.name, one.path) for one in self.desk.queue(TO_REVIEW, reviewer)]
        yield from self._answer(waiting, words, reviewer, shown, None)

    def _answer(
        self, images: list[tuple[str, Path]], words: str, reviewer: str, shown: str,
        draft: Draft | None,
    ) -> Iterator[Updates]:  # fmt: skip
        wrong: list[str] = []
        seconds: list[float] = []
        is_open = draft is not None
        try:
            for name, found in self.desk.answer(images, words):
                if isinstance(found, str):
                    wrong.append(f"{name}: {found.removeprefix(name).lstrip(' :')}")
                else:
                    seconds.append(found.seconds)
                    if not is_open:  # at once: at the end somebody may be at work on another
                        is_open = found.state in LISTS[shown][0]
                        yield self._open(found.key, shown, reviewer) if is_open else {}
                line = answered(seconds, len(images), wrong)
                yield self.listed(shown, reviewer) | {self.message: line}
        except Exception as error:
            if not is_user_error(error):
                raise
            yield {self.message: said(error_line(error), is_wrong=True)}

    @refusing
    def on_reviewer(self, draft: Draft | None, reviewer: str, shown: str) -> Updates:
        """Shows the list as it is for somebody else."""
        return self.listed(shown, reviewer, value=draft.entry.key if draft else None)

    @refusing
    def on_open(self, key: str, shown: str) -> Updates:
        """Shows an image of the list."""
        return self.view(self.desk.open(key, shown))

    @refusing
    def on_select(self, draft: Draft | None, place: int | None, *fields: str) -> Updates:
        """Marks a region, and leaves a canvas as it was."""
        return self.view(self._written(draft, fields), place=place)

    @refusing
    def on_rename(
        self, draft: Draft | None, place: int | None, name: str | None, *fields: str
    ) -> Updates:
        """Gives a region another name."""
        return self.view(self._written(draft, fields).renamed(place, name or ""), place=place)

    @refusing
    def on_delete(self, draft: Draft | None, place: int | None, *fields: str) -> Updates:
        """Takes a region away."""
        return self.view(self._written(draft, fields).without(place))

    @refusing
    def on_redraw(self, draft: Draft | None, place: int | None) -> Updates:
        """Opens the canvas with a region on it."""
        opened(draft).region(place)
        return self._canvas(Canvas(opened(draft), place))

    @refusing
    def on_new(self, draft: Draft | None) -> Updates:
        """Opens the canvas with nothing on it."""
        return self._canvas(Canvas(opened(draft), None))

    def _canvas(self, canvas: Canvas) -> Updates:
        return {
            self.drawing: canvas,
            self.viewing: gr.update(visible=False),
            self.canvas: gr.update(visible=True),
            self.easel: gr.update(visible=True, value=canvas.html()),
            self.message: said("paint the region, erase what is too much, then keep the drawing"),
        }

    @refusing
    def on_keep(
        self, canvas: Canvas | None, paint: str, is_box: bool, name: str | None,
        draft: Draft | None, *fields: str,
    ) -> Updates:  # fmt: skip
        """Takes over what was drawn."""
        if canvas is None:
            raise ValueError("no drawing is open: choose Redraw or New region")
        mask = canvas.mask(paint, is_box=is_box)
        after = self._written(draft, fields).redrawn(canvas.place, mask, name or "")
        place = len(after.regions) - 1 if canvas.place is None else canvas.place
        return self.view(after, place=place, line="drawn; accept to save it")

    @refusing
    def on_example(
        self, canvas: Canvas | None, paint: str, is_box: bool, name: str | None,
        draft: Draft | None, place: int | None,
    ) -> Updates:  # fmt: skip
        """Names by the drawing, or by the selected region, from now on."""
        draft = opened(draft)
        if canvas:
            mask = canvas.mask(paint, is_box=is_box)
        else:
            mask = draft.region(place).mask(draft.entry.size_px)
        count = self.desk.add_example(draft, mask, name or "")
        return {self.message: said(f"{name} has {count} examples now; answer again to use them")}

    @refusing
    def on_take_other(self, draft: Draft | None, *fields: str) -> Updates:
        """Takes the second person's regions for the consensus."""
        line = "theirs; accept to save it as the consensus"
        return self.view(self._written(draft, fields).taken(), line=line)

    @refusing
    def on_accept(self, draft: Draft | None, reviewer: str, shown: str, *fields: str) -> Updates:
        """Saves what is on the page and shows the next image."""
        draft = self._written(draft, fields)
        saved = self.desk.save(draft, reviewer)
        line = f"saved {saved.name}: {type_of(draft.regions, saved.size_px)}"
        if saved.state == "differs":
            line += "; it differs from the first person's answer: see the list 'to agree on'"
        return self._next(draft, reviewer, shown) | {self.message: said(line)}

    def _written(self, draft: Draft | None, fields: Sequence[str]) -> Draft:
        """The draft with what stands in the caption's fields, which every change brings along."""
        return self.desk.captioned(opened(draft), Caption(*fields))

    @refusing
    def on_next(self, draft: Draft | None, reviewer: str, shown: str) -> Updates:
        """Shows the next image of the list and saves nothing."""
        return self._next(draft, reviewer, shown)

    def _next(self, draft: Draft | None, reviewer: str, shown: str) -> Updates:
        key = self.desk.after(draft.entry.key if draft else None, shown, reviewer)
        return self._open(key, shown, reviewer)

    def _open(self, key: str | None, shown: str, reviewer: str) -> Updates:
        view = self.view(self.desk.open(key, shown) if key else None)
        return view | self.listed(shown, reviewer, value=key)

    @refusing
    def on_measure(self) -> Updates:
        """Shows and writes how far people agree, and how often they overrode the machine."""
        return {self.agreement: write_agreement(self.desk.corrections)}

    @refusing
    def on_download(self, tool: Tool) -> Updates:
        """Hands over what is settled as an archive."""
        return {self.downloads[tool]: str(write_archive(self.desk.corrections, tool, self.place))}

    def launch(self, *, host: str, port: int, upload_mb: int) -> None:
        """Serves the page in threads until `blocks.close`; no file over upload_mb is taken."""
        theme = gr.themes.Default(
            primary_hue="blue", neutral_hue="slate", font=FONTS, font_mono=MONOSPACED
        )
        self.blocks.queue(default_concurrency_limit=4).launch(
            server_name=host,
            server_port=port,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=f"{upload_mb}mb",
            theme=theme,
            css=STYLE.read_text(encoding="utf-8"),
            head=f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>",
            **CLOSED,
        )
