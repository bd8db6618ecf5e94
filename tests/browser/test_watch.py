"""The watch over a page sees what it is there to see."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from browser.laboratory import Server, Watched, learner_options, watch


def test_only_other_machines_are_outside() -> None:
    seen = Watched(
        requests=[
            "http://127.0.0.1:8888/lab",
            "ws://localhost:8888/api/kernels",
            "data:image/png;base64,AAAA",
            "blob:http://127.0.0.1:8888/1",
            "https://cdn.example.org/widget.js",
            "wss://example.org/socket",
        ]
    )
    assert seen.outside() == ["https://cdn.example.org/widget.js", "wss://example.org/socket"]


def test_a_page_that_asks_elsewhere_or_complains_is_seen(page: Any) -> None:
    seen = watch(page)
    page.goto("about:blank")
    page.evaluate(
        """async () => {
        console.error('amiss');
        await fetch('https://cdn.example.org/widget.js').catch(() => null);
        new WebSocket('wss://example.org/socket');
        setTimeout(() => { throw new Error('nobody catches this'); });
        await new Promise(done => setTimeout(done, 200)); }"""
    )
    assert seen.outside() == ["https://cdn.example.org/widget.js", "wss://example.org/socket"]
    assert "amiss" in seen.complaints
    assert any("nobody catches this" in complaint for complaint in seen.complaints)


def test_a_server_that_asks_elsewhere_is_seen(tmp_path: Path) -> None:
    outside = socket.create_server(("127.0.0.1", 0))
    outside.setblocking(False)
    server = Server("", "", tmp_path, tmp_path, outside)
    with outside:
        assert not server.left()
        socket.create_connection(outside.getsockname()).close()
        assert server.left()
        assert not server.left()


def test_the_learner_s_options_are_found() -> None:
    assert len(learner_options()) == 3
