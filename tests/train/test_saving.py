"""Saving and resuming: whatever stops a run, going on ends at the same weights, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from roofline.optim import SGD, AdamW, one_cycle
from roofline.train import accuracy, train
from roofline.train import saving as files
from safetensors import SafetensorError

from .small import batches, net, points, same, weights

RUN = {
    "schedule": one_cycle(12),
    "epochs": 4,
    "clip": 1.0,
    "progress": False,
    "validation": [points()[:]],
    "metrics": {"accuracy": accuracy},
}


class Stopped(Exception):
    """What stops a run in these tests."""


def stopping(after: int):
    """The loss, until it has been asked for so many times."""
    from roofline import losses

    calls = []

    def loss(output, target):
        calls.append(0)
        if len(calls) > after:
            raise Stopped
        return losses.cross_entropy(output, target)

    return loss


@pytest.mark.parametrize(
    "after, precision", [(0, "fp32"), (1, "fp32"), (8, "fp32"), (17, "fp32"), (17, "fp16")]
)
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path, after, precision):
    options = {**RUN, "accumulate": 2, "precision": precision, "keep_best": True}
    whole = net(dropout=0.4)
    expected = train(whole, batches(60, 10), **options)
    path = tmp_path / "run.safetensors"
    part = net(dropout=0.4)
    with pytest.raises(Stopped):
        train(part, batches(60, 10), stopping(after), save=path, save_every=1, **options)
    fresh = net(seed=9, dropout=0.4)
    history = train(fresh, batches(60, 10), save=path, **options)
    assert same(weights(whole), weights(fresh))
    assert history.loss == expected.loss and history.rate == expected.rate
    assert history.norm == expected.norm and history.evaluations == expected.evaluations
    assert history.updates == 12 and history.stopped == "epochs"


@pytest.mark.parametrize(
    "optimizer", [lambda p: SGD(p, lr=0.1, momentum=0.9), lambda p: AdamW(p, lr=0.01)]
)
def test_every_optimizer_is_taken_up(tmp_path, optimizer):
    path = tmp_path / "run.safetensors"
    whole, fresh = net(), net(seed=5)
    train(whole, batches(), optimizer=optimizer, epochs=4, progress=False)
    train(net(), batches(), optimizer=optimizer, epochs=2, progress=False, save=path)
    train(fresh, batches(), optimizer=optimizer, epochs=4, progress=False, save=path)
    assert same(weights(whole), weights(fresh))


def test_a_finished_run_is_not_run_again(tmp_path):
    path = tmp_path / "run.safetensors"
    first = train(net(), batches(), save=path, epochs=2, progress=False)
    model = net(seed=3)
    again = train(model, batches(), stopping(0), save=path, epochs=2, progress=False)
    assert again.loss == first.loss and again.stopped == "epochs"
    anew = train(net(), batches(), save=path, epochs=1, progress=False, resume=False)
    assert anew.updates == 3


def test_a_run_on_other_terms_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    train(net(), batches(), save=path, progress=False)
    options = {"save": path, "progress": False}
    with pytest.raises(ValueError, match="run with other weights: save to another path, or pass"):
        train(net(hidden=9), batches(), **options)
    with pytest.raises(ValueError, match=r"other loader's batch_size \(20, here 21\)"):
        train(net(), batches(batch_size=21), **options)
    with pytest.raises(ValueError, match=r"other precision \(fp32, here bf16\)"):
        train(net(), batches(), precision="bf16", **options)
    with pytest.raises(ValueError, match=r"other optimizer \(AdamW, here SGD\)"):
        train(net(), batches(), optimizer=lambda p: SGD(p, lr=0.1), **options)
    train(net(), batches(), epochs=2, **options)


@pytest.mark.parametrize("damage", ["empty", "half", "other", "record", "weights"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "run.safetensors"
    train(net(), batches(), save=path, progress=False)
    if damage == "other":
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, path)
    elif damage in ("record", "weights"):  # one bit
        whole = bytearray(path.read_bytes())
        whole[whole.index(b"best_loss") if damage == "record" else -1] ^= 1
        path.write_bytes(whole)
    else:
        whole = path.read_bytes()
        path.write_bytes(b"" if damage == "empty" else whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="run.safetensors is not a saved training run .* delete"):
        train(net(), batches(), save=path, progress=False)


@pytest.mark.parametrize("step", ["save_file", "fsync", "replace"])
def test_a_save_that_fails_leaves_the_one_before(tmp_path, monkeypatch, step):
    path = tmp_path / "run.safetensors"
    files.write(path, {"x": torch.zeros(3)}, {"n": 1})
    before = path.read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    owner = files if step == "save_file" else os
    monkeypatch.setattr(owner, step, full)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, {"x": torch.ones(3)}, {"n": 2})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.safetensors"]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    with pytest.raises(OSError, match="run can't be written .No space left .* make room"):
        train(net(), batches(), save=tmp_path / "run", progress=False)


def test_what_a_killed_run_left_half_written_is_swept_away(tmp_path):
    (tmp_path / ".run.safetensors.123.tmp").write_bytes(b"half")
    (tmp_path / ".other.safetensors.123.tmp").write_bytes(b"half")
    train(net(), batches(), save=tmp_path / "run.safetensors", progress=False)
    assert sorted(os.listdir(tmp_path)) == [".other.safetensors.123.tmp", "run.safetensors"]


# Trains in processes that are killed at random moments, until one of them comes to its end. They
# are forked from one that has imported torch, which takes longer than all of the training. The
# moments are parts of the time that a whole run takes here, so a fast machine is killed as often.
KILLED = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from train.small import batches, net, weights
from roofline.train import train

def run(path):
    model = net(dropout=0.3, hidden=64)
    train(model, batches(300, 10), epochs=4, save=path, save_every=1, progress=False)
    return b"".join(value.numpy().tobytes() for value in weights(model).values())

def start(path):
    child = os.fork()
    if child == 0:
        result = run(path)
        open(path + ".weights", "wb").write(result)
        os._exit(0)
    return child

path, killed = sys.argv[1], 0
began = time.perf_counter()
os.waitpid(start(path + ".whole"), 0)
whole = time.perf_counter() - began
for name in (path + ".whole", path + ".whole.weights"):
    os.remove(name)
moments = random.Random(1)
while True:
    child = start(path)
    if killed < 12:
        time.sleep(moments.uniform(0.0, whole / 5))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        print(killed)
        sys.exit(status != 0)
    killed += 1
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a thing of POSIX")
def test_killed_at_random_moments_and_taken_up_again(tmp_path):
    path = tmp_path / "run.safetensors"
    tests = Path(__file__).parents[1]
    library = Path(files.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{library}:{tests}", "ROOFLINE_DEVICE": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3, "the run was too short to be killed"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model = net(dropout=0.3, hidden=64)
        train(model, batches(300, 10), epochs=4, progress=False, device="cpu")
    finally:
        torch.set_num_threads(threads)
    expected = b"".join(value.numpy().tobytes() for value in weights(model).values())
    assert Path(f"{path}.weights").read_bytes() == expected
    assert [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] == []
