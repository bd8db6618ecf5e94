"""What the benchmark times is the same training on both sides, whichever way it is done."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from bench import engine
from bench.works import WORKS, work
from roofline.hardware.trace import recorded

WAYS = [{}, {"readable": True}, {"recompute": False}, {"fused": False}]


@pytest.mark.parametrize("name", WORKS)
def test_every_way_has_the_losses_of_the_torch_twin(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.works.RATE", 1e-3)
    rival = work(name, small=True).rival()
    expected = [rival().item() for _ in range(4)]
    assert expected[-1] < expected[0]
    for way in WAYS:
        step, _ = work(name, small=True).step(**way)
        assert [step().item() for _ in range(4)] == pytest.approx(expected, abs=1e-4)


def test_the_table_has_a_ratio_for_each_way() -> None:
    found = engine.measure("lenet", "cpu", 0.01, small=True)
    for way in ("ours", "plain_update", "readable", "products"):
        assert 0 < found[way]["low"] <= found[way]["ratio"] <= found[way]["high"]
    assert found["bytes"]["torch"] > 61_706 * 4  # at least the gradients
    assert found["bytes"]["readable"]["ratio"] > 0
    assert math.isfinite(engine.scalar(8, 0.01)["ratio"])


def test_the_table_can_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOFLINE_TRACES", str(tmp_path))
    monkeypatch.setenv("ROOFLINE_MEASURE", "record")
    monkeypatch.setattr(engine, "WORKS", ["mlp"])
    engine.record(seconds=0.01, small=True)
    assert recorded("engine.mlp").value["ours"]["ratio"] > 0
