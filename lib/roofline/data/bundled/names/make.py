"""Make names.txt from the surname lists of Faker 40.54.0.

Run: pip install faker==40.54.0, then python make.py.
One line a name: the locale, a tab, the name. Locales in Latin letters, so that the alphabet does
not give the answer away; of a list longer than 600 every k-th name. A name that several languages
share is kept in each of them: no classifier can be right about all of those.
"""

from __future__ import annotations

import importlib
import unicodedata
from pathlib import Path

from roofline.data.sources import write_source

HERE = Path(__file__).parent
LIMIT = 600
LOCALES = (
    "az_AZ", "cs_CZ", "de_DE", "en_GB", "es_ES", "et_EE", "fi_FI", "fr_FR",
    "ga_IE", "hr_HR", "id_ID", "it_IT", "nl_NL", "sk_SK", "sv_SE", "zu_ZA",
)  # fmt: skip


def surnames(locale: str) -> list[str]:
    provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
    found: set[str] = set()
    for kind in ("last_names", "last_names_male", "last_names_female"):
        values = getattr(provider, kind, ())
        found.update(() if isinstance(values, property) else values)
    names = sorted({unicodedata.normalize("NFC", name.strip()) for name in found})
    return [names[i * len(names) // LIMIT] for i in range(LIMIT)] if len(names) > LIMIT else names


def main() -> None:
    lines = [f"{locale}\t{name}" for locale in LOCALES for name in surnames(locale)]
    (HERE / "names.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_source(
        HERE,
        title="Surnames of 16 locales",
        licence="MIT",
        attribution="Copyright (c) 2012 Daniele Faraglia, Faker",
        origin="Python package Faker 40.54.0, faker.providers.person",
        files=("names.txt",),
    )


if __name__ == "__main__":
    main()
