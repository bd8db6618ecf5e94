"""Make tang.txt and song.txt from the npm package chinese-poetry 2.0.1.

Run: npm pack chinese-poetry@2.0.1, unpack it, then python make.py package.
Two anthologies: 300 Tang poems (366 entries, in traditional characters) and 300 Song lyrics (280
entries, in simplified ones). A poem is its title, its author and its lines; a blank line follows.
The editors' square brackets around doubtful characters go.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from roofline.data.sources import write_source

HERE = Path(__file__).parent


def poems(path: Path) -> str:
    entries = json.loads(path.read_text(encoding="utf-8"))
    text = "\n\n".join(
        "\n".join([entry.get("title") or entry["rhythmic"], entry["author"], *entry["paragraphs"]])
        for entry in entries
    )
    return text.replace("[", "").replace("]", "")


def main(package: Path) -> None:
    for name, path in (("tang", "quantangshi/唐诗三百首.json"), ("song", "songci/宋词三百首.json")):
        text = poems(package / "dist" / path) + "\n"
        (HERE / f"{name}.txt").write_text(text, encoding="utf-8")
    write_source(
        HERE,
        title="Chinese poetry: 300 Tang poems and 300 Song lyrics",
        licence="MIT; the poems are in the public domain",
        attribution="Copyright (c) 2016 JackeyGao, chinese-poetry",
        origin="npm package chinese-poetry 2.0.1",
        files=("tang.txt", "song.txt"),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
