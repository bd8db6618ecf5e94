"""The bundled texts and the series."""

from __future__ import annotations

from collections import Counter

import pytest
from roofline.data import chinese_poetry, names, shakespeare, sunspots


def test_shakespeare():
    text = shakespeare()
    assert len(text) == 1_142_971 and text.isascii() and len(set(text)) == 75
    assert "To be, or not to be,--that is the question" in text
    assert "gutenberg" not in text.lower() and "\n\n\n" not in text


def test_chinese_poetry():
    assert "牀前看月光" in chinese_poetry() and "明月几时有" in chinese_poetry("song")
    assert len(chinese_poetry().split("\n\n")) == 366
    with pytest.raises(ValueError, match="expected 'tang' or 'song'"):
        chinese_poetry("yuan")


def test_names():
    data = names()
    assert len(data) == 7481 and len(data.classes) == 16
    assert sum(times > 1 for times in Counter(data.texts).values()) == 129
    counts = data.labels.bincount()
    assert counts.min() == 173 and counts.max() == 600
    assert ("Meriläinen", data.classes.index("fi_FI")) in [data[i] for i in range(len(data))]
    train, test = data.split(0.2)
    assert sorted(train.texts + test.texts) == sorted(data.texts)


def test_sunspots():
    series = sunspots()
    assert len(series) == 3126 and series.months[0] == "1749-01" and series.months[-1] == "2009-06"
    assert series.values[0] == 58.0 and float(series.values.max()) == pytest.approx(253.8)
