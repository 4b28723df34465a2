"""The page: two tabs over a `Desk`. Handlers read what was entered, have it worked on, and show what came of it."""

from __future__ import annotations

import contextlib
import html
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from shared.errors import DataError, DiffusionError

from .limits import MEGABYTE
from .requests import (
    LOUDNESS,
    MODELS,
    NO_ID,
    WIDE,
    Columns,
    ExampleRequest,
    ModelName,
    SeriesRequest,
    SoundRequest,
    TableRequest,
    Task,
    Tell,
)
from .work import Desk

R = TypeVar("R")
Shown = tuple[Any, ...]

TITLE = "Clean speech, forecast series"
_SYSTEM_FONT = ["system-ui", "-apple-system", "Segoe UI", "Arial", "sans-serif"]
_MEANING = re.compile(r"([!-/:-@\[-`{-~])")
"""What may mean something in Markdown: the punctuation of ASCII, which a backslash makes plain."""

_WORK = "work"
"""What all handlers that compute share: as many of them run at once as the desk has processes."""


def theme() -> gr.themes.Base:
    """Gradio's, with fonts that are there already."""
    return gr.themes.Default(font=_SYSTEM_FONT, font_mono=["ui-monospace", "monospace"])


class Page(gr.Blocks):
    """Blocks over a desk that take no file but those that were sent to it, and tell in a line what they cannot take.

    In a server of ours the framework copies whatever file or address any value names to where it can be had, and prints
    a traceback for each value of a wrong type.
    """

    def __init__(self, desk: Desk, **options: Any):
        super().__init__(**options)
        self.desk = desk

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **options: Any) -> list[Any]:
        """What handlers get of what was sent."""
        try:
            for path in _paths(inputs):
                self.desk.check_sent(Path(path), Path(path).name)
            return await super().preprocess_data(block_fn, inputs, *args, **options)
        except DiffusionError as error:
            raise _shown(error) from None
        except Exception as error:  # the framework's, of which each means the same to a user
            told = error.message if isinstance(error, gr.Error) else (str(error) or type(error).__name__)
            raise _shown(DataError(f"{block_fn.api_name} cannot take what was sent: {told.splitlines()[0]}")) from None


def _paths(value: Any) -> Iterator[str]:
    """What stands for the place of a file anywhere in values of JSON."""
    if isinstance(value, dict) and isinstance(path := value.get("path"), str):
        yield path
    if isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _paths(inner)


class Tabs:
    """Those that something is worked on for: what nobody waits for any more is stopped, for others may wait."""

    def __init__(self) -> None:
        self._closed: dict[threading.Event, str | None] = {}

    @contextlib.contextmanager
    def waiting(self, request: gr.Request, tell: Tell) -> Iterator[Tell]:
        """What to tell of progress in place of `tell`; it raises a DataError once the tab that asked is gone."""
        closed = threading.Event()
        self._closed[closed] = request.session_hash

        def told(share: float, what: str) -> None:
            if closed.is_set():
                raise DataError("the tab that asked for this is gone")
            tell(share, what)

        try:
            yield told
        finally:
            del self._closed[closed]

    def leave(self, request: gr.Request) -> None:
        """Stop what is worked on for a tab that was closed, or loaded anew."""
        for closed, tab in list(self._closed.items()):
            if tab == request.session_hash:
                closed.set()


class Handlers:
    """What the page's buttons do."""

    def __init__(self, desk: Desk):
        self.desk, self.tabs = desk, Tabs()

    def enhance(
        self,
        asking: gr.Request,
        file: str | None,
        recording: str | None,
        model: ModelName,
        mix: float,
        loudness: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 by which Gradio knows it
    ) -> Shown:
        """Before, after, both spectrograms, the file, and a line about them."""
        source = file or recording
        if source is None:
            raise _shown(DataError("there is no recording: drop a file, record one, or take the example"))
        request = SoundRequest(Path(source), Path(source).name, model, mix, loudness)
        with self.tabs.waiting(asking, _bar(progress)) as shown:
            made = _worked(lambda: self.desk.enhance(request, shown))
        return str(made.before), str(made.after), str(made.picture), str(made.result), said(made.about, made.notes)

    def look(self, file: str | None, pasted: str) -> Shown:
        """The columns of a table, to choose from, and a line about it."""
        if file is None and not (pasted or "").strip():
            return *(gr.Dropdown(choices=[], value=None) for _ in range(3)), ""
        made = _worked(lambda: self.desk.look(_table(file, pasted), _nobody))
        found, columns = made.found, made.columns
        values = (None, None, None) if found is None else (found.item, found.time, found.target)
        offered = ([NO_ID, *columns], columns, [WIDE, *columns])
        return (
            *(gr.Dropdown(choices=names, value=value) for names, value in zip(offered, values, strict=True)),
            said(made.about),
        )

    def _series(self, task: Task, asking: gr.Request, progress: gr.Progress, entered: tuple[Any, ...]) -> Shown:
        file, pasted, item, time, target, horizon, freq, percent = entered
        table = _table(file, pasted)

        def work(shown: Tell) -> Shown:
            columns = Columns(item or NO_ID, time, target) if time and target else self._found(table, shown)
            whole = None if horizon is None else int(horizon)
            request = SeriesRequest(task, table, columns, whole or 0, freq or "", percent / 100)
            made = self.desk.work_on(request, shown)
            return str(made.picture), made.shown.astype(str), str(made.download), said(made.about, made.notes)

        with self.tabs.waiting(asking, _bar(progress)) as shown:
            return _worked(lambda: work(shown))

    def _found(self, table: TableRequest, shown: Tell) -> Columns:
        made = self.desk.look(table, shown)
        if made.found is None:
            raise DataError(made.about)
        return made.found

    def forecast(self, asking: gr.Request, *entered: Any, progress: gr.Progress = gr.Progress()) -> Shown:  # noqa: B008
        """Fan charts, a table, a CSV, and a line about them."""
        return self._series("forecast", asking, progress, entered)

    def fill(self, asking: gr.Request, *entered: Any, progress: gr.Progress = gr.Progress()) -> Shown:  # noqa: B008
        """The same of filled gaps."""
        return self._series("fill", asking, progress, entered)

    def anomalies(self, asking: gr.Request, *entered: Any, progress: gr.Progress = gr.Progress()) -> Shown:  # noqa: B008
        """The same of the scores of every step."""
        return self._series("anomalies", asking, progress, entered)

    def noisy_example(self) -> tuple[str, None]:
        """A noisy recording, in place of what was recorded."""
        return str(_worked(lambda: self.desk.example(ExampleRequest("noisy recording"), _nobody)).path), None

    def load_example(self) -> tuple[str, str]:
        """A table, in place of what was pasted."""
        return str(_worked(lambda: self.desk.example(ExampleRequest("load"), _nobody)).path), ""


def said(about: str, notes: tuple[str, ...] = ()) -> str:
    """A line and notes below it, as Markdown in which what they quote, which may be anything, means nothing."""
    return "\n".join([plain(about), "", *(f"- {plain(note)}" for note in notes)])


def plain(text: str) -> str:
    """Markdown that shows a text as it is."""
    return _MEANING.sub(r"\\\1", " ".join(text.split()))


def _table(file: str | None, pasted: str) -> TableRequest:
    return TableRequest(None if file is None else Path(file), "" if file is None else Path(file).name, pasted or "")


def _nobody(share: float, what: str) -> None:
    """Told of progress that is not shown."""


def _bar(progress: gr.Progress) -> Tell:
    return lambda share, what: progress(share, desc=what)


def _shown(error: DiffusionError) -> gr.Error:
    return gr.Error(html.escape(str(error)), duration=None, title="That did not work", print_exception=False)


def _worked(work: Callable[[], R]) -> R:
    """What it returns; what it refuses is shown as it is."""
    try:
        return work()
    except DiffusionError as error:
        raise _shown(error) from None


def build(desk: Desk) -> gr.Blocks:
    """The page over a desk."""
    handlers = Handlers(desk)
    with Page(desk, title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(f"# {TITLE}\n{_promise(desk)}")
        with gr.Tab("Speech", id="speech"):
            _speech_tab(handlers)
        with gr.Tab("Series", id="series"):
            _series_tab(handlers)
        page.unload(handlers.tabs.leave)
    return page.queue(max_size=desk.limits.waiting, default_concurrency_limit=desk.workers, api_open=False)


def _promise(desk: Desk) -> str:
    bounds = desk.limits
    return (
        "All is computed on the machine that serves this page; nothing is sent elsewhere. Files of up to "
        f"{bounds.upload_bytes // MEGABYTE} MB, {bounds.sound_seconds / 60:g} minutes or {bounds.rows:,} rows; they "
        f"are removed after {bounds.keep_seconds / 60:g} minutes."
    )


def _speech_tab(handlers: Handlers) -> None:
    with gr.Row():
        with gr.Column(min_width=300):
            file = gr.File(label="A recording, of any kind; or a video", elem_id="sound-file", height=140)
            recording = gr.Audio(sources=["microphone"], type="filepath", label="Or record", elem_id="microphone")
            example = gr.Button("Example: a made-up talker in noise", size="sm", elem_id="sound-example")
            model = gr.Dropdown(
                list(MODELS),
                value=MODELS[0],
                label="Model",
                info="dereverb: for rooms; bandwidth: for calls; causal: for streams; both: best, at twice the cost",
            )
            mix = gr.Slider(0, 1, value=1, step=0.05, label="Wet", info="0: as recorded, 1: enhanced alone")
            loudness = gr.Dropdown(
                list(LOUDNESS), value=LOUDNESS[0], label="Loudness", info="keep: the recording's; or LUFS"
            )
            start = gr.Button("Enhance", variant="primary", elem_id="enhance")
        with gr.Column(min_width=300, scale=2):
            about = gr.Markdown(elem_id="sound-about")
            before = gr.Audio(label="Before", interactive=False, buttons=["download"], elem_id="before")
            after = gr.Audio(label="After", interactive=False, buttons=["download"], elem_id="after")
            picture = _picture("Spectrograms", "spectrograms")
            result = gr.File(label="Download", interactive=False, elem_id="sound-result")
    entered, shown = [file, recording, model, mix, loudness], [before, after, picture, result, about]
    start.click(handlers.enhance, entered, shown, concurrency_id=_WORK, api_name="enhance")
    file.upload(lambda: None, None, recording, api_visibility="private", queue=False)
    recording.stop_recording(lambda: None, None, file, api_visibility="private", queue=False)
    example.click(handlers.noisy_example, None, [file, recording], api_name="noisy_example").success(
        handlers.enhance, entered, shown, concurrency_id=_WORK, api_visibility="private"
    )


def _series_tab(handlers: Handlers) -> None:
    with gr.Row():
        with gr.Column(min_width=300):
            file = gr.File(label="A table: CSV, Parquet, Feather or Arrow", elem_id="table-file", height=140)
            pasted = gr.Textbox(
                label="Or paste CSV",
                lines=5,
                max_lines=8,
                placeholder="region,hour,megawatts\nnorth,2024-01-31 18:00,512.5\n…",
                max_length=handlers.desk.limits.pasted,
                elem_id="pasted",
            )
            example = gr.Button("Example: hourly electricity load", size="sm", elem_id="table-example")
            found = gr.Markdown(elem_id="table-about")
            item = _columns("Names of the series", "item")
            time = _columns("Times", "time")
            target = _columns("Values", "target")
            horizon = gr.Number(24, label="Steps to forecast", precision=0, elem_id="horizon")
            freq = gr.Textbox("", label="Frequency", info="found by itself; or h, D, W, MS, …", elem_id="freq")
            percent = gr.Slider(0.1, 10, value=1, step=0.1, label="Anomalies to point at, % of the steps")
            forecast = gr.Button("Forecast", variant="primary", elem_id="forecast")
            with gr.Row():
                fill = gr.Button("Fill gaps", elem_id="fill", min_width=120)
                anomalies = gr.Button("Find anomalies", elem_id="anomalies", min_width=120)
        with gr.Column(min_width=300, scale=2):
            about = gr.Markdown(elem_id="series-about")
            picture = _picture("Picture", "chart")
            download = gr.File(label="Download CSV", interactive=False, elem_id="series-result")
            shown = gr.Dataframe(label="First rows", interactive=False, wrap=False, elem_id="rows", max_height=420)
    entered = [file, pasted, item, time, target, horizon, freq, percent]
    results, columns = [picture, shown, download, about], [item, time, target, found]
    for name in ("forecast", "fill", "anomalies"):
        button = {"forecast": forecast, "fill": fill, "anomalies": anomalies}[name]
        button.click(getattr(handlers, name), entered, results, concurrency_id=_WORK, api_name=name)
    for source in (file, pasted):
        source.change(
            handlers.look, [file, pasted], columns, concurrency_id=_WORK, trigger_mode="always_last", api_name="look"
        )
    file.upload(lambda: "", None, pasted, api_visibility="private", queue=False)
    example.click(handlers.load_example, None, [file, pasted], api_name="load_example").success(
        handlers.forecast, [file, pasted, *_nothing(3), horizon, freq, percent], results, concurrency_id=_WORK
    )


def _picture(label: str, name: str) -> gr.Image:
    return gr.Image(
        label=label,
        type="filepath",
        interactive=False,
        show_label=False,
        buttons=["download", "fullscreen"],  # and none that shares it with others
        elem_id=name,
    )


def _columns(label: str, name: str) -> gr.Dropdown:
    """A choice of a table's columns. Of another name the toolkit says what there is; the framework would refuse every
    one, and name none, once the server has forgotten which it offered: after its restart, or a long sleep."""
    return gr.Dropdown([], label=label, elem_id=name, allow_custom_value=True)


def _nothing(count: int) -> list[gr.State]:
    """Inputs that hold nothing: columns that are to be found."""
    return [gr.State(None) for _ in range(count)]
