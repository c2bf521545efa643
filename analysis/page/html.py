"""The page as one HTML text: its script, style and data inside it, everything from the store escaped."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from analysis.page.data import PageData
from analysis.page.script import page_script, page_style, sha256_source

_NO_TABLES: Final[dict[str, Any]] = {"training": None, "settings": (), "provenance": {}, "first": ()}


@dataclass(frozen=True)
class ShownFigure:
    """A static figure: its title, what it shows in words, and its SVG; empty where `text` says why there is none.

    Where there is a `png`, a page shows that, since the SVG is too large for it.
    """

    name: str
    title: str
    text: str
    svg: str
    png: bytes = b""

    @property
    def data_uri(self) -> str:
        """The figure as an image of its own: inlined, the clip paths of several SVGs would share their ids."""
        kind, content = ("png", self.png) if self.png else ("svg+xml", self.svg.encode())
        return f"data:image/{kind};base64," + base64.b64encode(content).decode()


@dataclass(frozen=True)
class StaticPart:
    """What the page shows without a script as well: figures, and tables as `page.html.j2` reads them."""

    figures: Sequence[ShownFigure] = ()
    tables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LiveLinks:
    """What a page that is served leads to: the address of its report, and whether there is one yet."""

    report: str
    has_report: bool


def page_html(
    data: PageData, static: StaticPart, *, pages: Sequence[tuple[str, str | None]] = (), live: LiveLinks | None = None
) -> str:
    """The page. Its content security policy admits its own script and style sheet, by hash, and no load.

    `pages` are the pages of all budgets as (name, address), without an address for this one. A live page holds no blob
    and asks the server that it came from.
    """
    blobs = {} if live else {name: base64.b64encode(blob).decode() for name, blob in data.blobs.items()}
    return _template("page.html.j2").render(
        name=data.state["name"],
        policy=content_policy(live is not None),
        style=Markup(page_style()),
        script=Markup(page_script()),
        state=_in_script(json.dumps(data.state, allow_nan=False)),
        blobs=blobs,
        first_blobs=[name for name in _first_blobs(data) if name in blobs],
        findings=data.state["findings"],
        left_out=data.state["left_out"],
        pages=pages,
        live=live,
        figures=static.figures,
        tables=_NO_TABLES | dict(static.tables),
    )


def sweeps_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """The list of the sweeps that are served: name, address, folder, progress and what was found, of each."""
    return _template("sweeps.html.j2").render(
        rows=rows, policy=content_policy(is_live=True), style=Markup(page_style()), script=Markup(page_script())
    )


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(name)


def _first_blobs(data: PageData) -> tuple[str, str]:
    """The runs and the metric that outcomes are judged by."""
    metrics, judged = data.state["metrics"], data.state["criterion"]["metric"]
    return "runs", f"metric_{metrics.index(judged) if judged in metrics else 0}"


def content_policy(is_live: bool) -> str:
    """What the page may load and run: its own script, style and pictures, and of a live page the server it is from."""
    rules = {
        "default-src": "'none'",
        "script-src": sha256_source(page_script()),
        "style-src": sha256_source(page_style()),
        "img-src": "data:",
        "connect-src": "'self'" if is_live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {source}" for name, source in rules.items())


def _in_script(text: str) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
