"""What a test does when the machine lacks a tool: skip for a user, fail where CI is set."""

from __future__ import annotations

import os

import pytest


def need(present: bool, what: str) -> None:
    """Go on if ``present``; else skip the test on a user's machine and fail it in CI."""
    if not present:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not installed")
