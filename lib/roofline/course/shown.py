"""Markdown as a page may show it: nbconvert's own HTML, less everything that could act.

The pages of feedback and, by ``nbgrader_config.py``, those of formgrader are made with this. What
was handed in and graded stays as it is: only what a browser gets is cleaned.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import (
    InvalidNotebook,
    IPythonRenderer,
    MarkdownWithMath,
)

from roofline.course.files import without_formula_links

TAGS = frozenset(
    "a abbr b blockquote br caption center cite code col colgroup dd del details div dl dt em "
    "figcaption figure font h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre s samp small span "
    "strong sub summary sup table tbody td tfoot th thead tr tt u ul var".split()
)
MAX_SOURCE = 20_000  # characters; of more, the text is shown as it was typed
_PLAIN = frozenset(
    "align alt border class colspan height open rowspan scope start style title width".split()
)
_PICTURE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
_BLANKS = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028\u2029\ufeff]+")


@pass_context
def markdown(context: Any, source: str) -> str:
    """The filter ``markdown2html`` of nbconvert's templates."""
    return cleaned(str(source), context.get("cell", {}).get("attachments") or {})


def cleaned(source: str, attachments: Mapping[str, Any] | None = None) -> str:
    """Markdown's HTML, which does nothing but be looked at and be followed to other pages."""
    return _made(source, attachments) if attachments else _remembered(source)


def _made(source: str, attachments: Mapping[str, Any]) -> str:
    try:
        if len(source) > MAX_SOURCE:
            raise ValueError("more than anybody reads")
        return _cleaned(source, attachments)
    except InvalidNotebook:  # names an attachment that isn't there: a picture that is missing
        return _made(source.replace("attachment:", ""), {})
    except Exception:  # nested too deeply, say; nobody's cell stops the pages of a class
        return f"<pre>{html.escape(source[:MAX_SOURCE])}</pre>"


def _cleaned(source: str, attachments: Mapping[str, Any]) -> str:
    renderer = IPythonRenderer(escape=False, attachments=dict(attachments))
    made = MarkdownWithMath(renderer=renderer).render(source)
    made = bleach.clean(
        made,
        tags=TAGS,
        attributes=_allowed,
        protocols={"http", "https", "mailto", "data"},  # data: pictures, see below
        css_sanitizer=CSSSanitizer(),
        strip=True,
    )
    return without_formula_links(made)


@lru_cache(maxsize=512)
def _remembered(source: str) -> str:
    """Most cells are the same in all submissions."""
    return _made(source, {})


def _allowed(tag: str, name: str, value: str) -> bool:
    if name in _PLAIN:
        return True
    address = _BLANKS.sub("", html.unescape(value))
    if tag == "a" and name == "href":
        return not address.lower().startswith("data:")
    if tag == "img" and name == "src":
        # Of this page, or in it: a picture from elsewhere tells its owner who looks at what.
        inside = not _SCHEME.match(address) and not address.startswith(("//", "/", "\\"))
        return inside or bool(_PICTURE.fullmatch(html.unescape(value)))
    return False
