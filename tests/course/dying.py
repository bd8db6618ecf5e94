"""A piece of work that ends the process that does it."""

from __future__ import annotations

import os
from typing import Any


def maybe(item: dict[str, Any]) -> dict[str, Any]:
    if item["code"] is not None:
        os._exit(item["code"])
    return {"student": item["student"], "notebooks": {}, "failed": ""}
