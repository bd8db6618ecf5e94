"""Each model against its torch twin; sizes against the published ones."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from devices import DEVICES, float_type
from models import torch_models
from roofline import models, nn
from roofline.autograd import Tensor, no_grad
from roofline.hardware.count import count
from torch.utils.flop_counter import FlopCounterMode
from twins import compare, twins


def pictures(*shape: int, device: str = "cpu") -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(shape, dtype=float_type(device)).to(device)


def tokens(n: int, t: int, vocabulary: int, device: str = "cpu") -> torch.Tensor:
    torch.manual_seed(4)
    return torch.randint(vocabulary, (n, t)).to(device)


def size(model: Any) -> int:
    return sum(math.prod(parameter.shape) for parameter in model.parameters())


def on_meta(build: Any) -> Any:
    with torch.device("meta"):
        return build()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (lambda: models.MLP([12, 8, 8, 3]), lambda: torch_models.MLP([12, 8, 8, 3]), (5, 3, 4)),
        (
            lambda: models.TwoConvNet(3, 16),
            lambda: torch_models.TwoConvNet(3, 256, None),
            (2, 3, 16, 16),
        ),
        (
            lambda: models.TwoConvNet(1, 15, 8),
            lambda: torch_models.TwoConvNet(1, 256, 8),
            (2, 1, 15, 15),
        ),
        (models.LeNet, torch_models.LeNet, (2, 1, 28, 28)),
        (lambda: models.ResNet(2, width=4), torch_models.ResNet, (4, 3, 8, 8)),
    ],
)
def test_models_of_pictures_equal_their_twins(
    ours: Any, theirs: Any, shape: Any, device: str
) -> None:
    our, their = twins(ours, theirs, device, starts=theirs is not torch_models.ResNet)
    compare(our, their, pictures(*shape, device=device))
    our.eval(), their.eval()
    compare(our, their, pictures(*shape, device=device))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("tied", [True, False])
def test_gpt_equals_its_twin(tied: bool, device: str) -> None:
    our, their = twins(
        lambda: models.GPT(11, 6, 8, 2, 2, tied=tied),
        lambda: torch_models.GPT(11, 6, 8, 2, 2, tied),
        device,
        starts=False,
    )
    compare(our, their, tokens(2, 6, 11, device))
    compare(our, their, tokens(3, 4, 11, device))


@pytest.mark.parametrize("device", DEVICES)
def test_bert_equals_its_twin(device: str) -> None:
    our, their = twins(
        lambda: models.BERT(11, 6, 8, 2, 2, 0.0),
        lambda: torch_models.BERT(11, 6, 8, 2, 2),
        device,
        starts=False,
    )
    padding = torch.arange(5) >= torch.tensor([[5], [3]])
    segments = (torch.arange(5) > 2).long().expand(2, 5)
    compare(our, their, tokens(2, 5, 11, device), padding.to(device), segments.to(device))


@pytest.mark.parametrize("device", DEVICES)
def test_transformer_classifier_equals_its_twin(device: str) -> None:
    our, their = twins(
        lambda: models.TransformerClassifier(11, 6, 8, 2, 2, 3, 0.0),
        lambda: torch_models.TransformerClassifier(11, 8, 2, 2, 3),
        device,
        starts=False,
    )
    our.positions.table = torch_models.sinusoids(6, 8).to(our.positions.table)
    compare(our, their, tokens(3, 6, 11, device), torch.tensor([6, 1, 4]))
    whole = tokens(3, 6, 11, device)
    torch.testing.assert_close(our(whole).data, our(whole, torch.tensor([6, 6, 6])).data)


@pytest.mark.parametrize("device", DEVICES)
def test_encoder_decoder_equals_its_twin(device: str) -> None:
    our, their = twins(
        lambda: models.EncoderDecoder(11, 7, 6, 8, 2, 2, 0.0),
        lambda: torch_models.EncoderDecoder(11, 7, 8, 2, 2),
        device,
        starts=False,
    )
    our.positions.table = torch_models.sinusoids(6, 8).to(our.positions.table)
    padding = (torch.arange(6) >= torch.tensor([[6], [3]])).to(device)
    compare(our, their, tokens(2, 6, 11, device), tokens(2, 5, 7, device), padding)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_recurrent_models_equal_their_twins(kind: str, device: str) -> None:
    our, their = twins(
        lambda: models.RecurrentClassifier(kind, 11, 4, 5, 3, 2),
        lambda: torch_models.RecurrentClassifier(kind, 11, 4, 5, 3, 2),
        device,
    )
    compare(our, their, tokens(3, 6, 11, device), torch.tensor([6, 1, 4]))
    whole = tokens(3, 6, 11, device)
    torch.testing.assert_close(our(whole).data, our(whole, torch.tensor([6, 6, 6])).data)
    for tied in (False, True):
        our, their = twins(
            lambda t=tied: models.RecurrentLM(kind, 11, 5, 5, 2, tied=t),
            lambda t=tied: torch_models.RecurrentLM(kind, 11, 5, 5, 2, t),
            device,
            starts=not tied,
        )
        compare(our, their, whole)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_recurrent_models_write_on_from_their_state(kind: str) -> None:
    torch.manual_seed(0)
    model = models.RecurrentLM(kind, 11, 6, 5, 2, dropout=0.5)
    start = tokens(2, 3, 11)
    greedy = model.generate(start, 5, temperature=0)
    assert model.training and torch.equal(greedy[:, :3], start)
    best = model.eval()(greedy).data.argmax(-1)
    assert torch.equal(greedy[:, 3:], best[:, 2:-1])


def test_impossible_recurrent_models_are_refused() -> None:
    with pytest.raises(ValueError, match="rnn, lstm, gru"):
        models.RecurrentLM("lstn", 11, 5, 5)
    with pytest.raises(ValueError, match="width equal to hidden"):
        models.RecurrentLM("lstm", 11, 4, 5, tied=True)


@pytest.mark.parametrize(
    ("build", "shape", "parameters", "flops"),
    [
        (models.TwoConvNet, (1, 3, 224, 224), 1_885_642, 526_876_416),
        (
            lambda: models.TwoConvNet(channels=1, hidden=64),
            (1, 1, 224, 224),
            11_963_466,
            490_257_920,
        ),
    ],
)
def test_the_articles_networks_have_the_articles_sizes(
    build: Any, shape: Any, parameters: int, flops: int
) -> None:
    model = on_meta(build)
    assert size(model) == parameters
    with no_grad():
        x = torch.empty(shape, device="meta")
        assert count(model, x).flops == flops
        with FlopCounterMode(display=False) as counter:
            model(x)
        assert counter.get_total_flops() == flops
    dense = model.dense or model.head
    assert size(dense) > 0.98 * parameters
    assert size(model.conv1) + size(model.conv2) < 0.02 * parameters


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (models.LeNet, 61_706),  # 156 + 2,416 + 48,120 + 10,164 + 850
        (lambda: models.ResNet(3), 272_474),  # ResNet-20 with option B
        (lambda: models.GPT(50257, 1024, 768, 12, 12), 124_439_808),
        (lambda: models.GPT(50257, 1024, 1600, 25, 48), 1_557_611_200),
        (lambda: models.BERT(30522, 512, 768, 12, 12), 109_514_298),
    ],
)
def test_published_sizes(build: Any, parameters: int) -> None:
    assert size(on_meta(build)) == parameters


def test_gpt_has_the_flops_of_the_formula() -> None:
    """Forward of one sequence: 2(12 l h² + V h) s + 4 l s² h, for GPT-2."""
    layers, width, context, vocabulary = 12, 768, 1024, 50257
    model = on_meta(lambda: models.GPT(vocabulary, context, width, 12, layers))
    with no_grad():
        counted = count(model, torch.empty(1, context, dtype=torch.long, device="meta")).flops
    products = 2 * (12 * layers * width**2 + vocabulary * width) * context
    assert counted == products + 4 * layers * context**2 * width


def test_gpt_starts_as_published() -> None:
    torch.manual_seed(0)
    model = models.GPT(100, 32, 64, 4, 8)
    state = model.state_dict()
    assert state["embedding.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    assert state["blocks.layers.3.linear1.weight"].std().item() == pytest.approx(0.02, rel=0.05)
    for name in ("linear2", "self_attn.out_proj"):
        weight = state[f"blocks.layers.3.{name}.weight"]
        assert weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert not any(value.any() for name, value in state.items() if name.endswith("bias"))
    assert torch.equal(state["blocks.layers.3.norm1.weight"], torch.ones(64))
    first, second = (state[f"blocks.layers.{i}.linear1.weight"] for i in (0, 1))
    assert not torch.equal(first, second)


def test_gpt_looks_back_only() -> None:
    model = models.GPT(11, 8, 8, 2, 2)
    before = tokens(1, 8, 11)
    after = before.clone()
    after[:, 5:] = (after[:, 5:] + 1) % 11
    one, other = model(before).data, model(after).data
    torch.testing.assert_close(one[:, :5], other[:, :5])
    assert (one[:, 5:] - other[:, 5:]).abs().max() > 1e-4


def test_gpt_writes_on() -> None:
    torch.manual_seed(0)
    model = models.GPT(11, 4, 8, 2, 2, dropout=0.5)
    start = tokens(2, 3, 11)
    greedy = model.generate(start, 6, temperature=0)
    assert greedy.shape == (2, 9) and torch.equal(greedy[:, :3], start)
    assert model.training
    model.eval()
    for step in range(3, 9):
        logits = model(greedy[:, max(0, step - 4) : step]).data[:, -1]
        assert torch.equal(greedy[:, step], logits.argmax(-1))
    drawn = [
        model.generate(start, 6, top_k=5, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def shares(logits: list[float], **options: Any) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.tensor(logits).expand(20_000, -1)
    drawn = models.sample(rows, generator=generator, **options)
    return (drawn == torch.arange(len(logits))).float().mean(0).tolist()


def test_sampling_draws_from_the_right_distribution() -> None:
    p = [0.1, 0.4, 0.2, 0.3]
    logits = [math.log(x) for x in p]
    assert shares(logits) == pytest.approx(p, abs=0.02)
    squares = [x**2 / 0.3 for x in p]
    assert shares(logits, temperature=0.5) == pytest.approx(squares, abs=0.02)
    assert shares(logits, temperature=0) == [0, 1, 0, 0]
    assert shares(logits, top_k=2) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.02)
    assert shares(logits, top_k=9) == pytest.approx(p, abs=0.02)
    assert shares(logits, top_p=0.6) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.02)
    assert shares(logits, top_p=0.71) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9], abs=0.02)
    assert shares(logits, top_p=0.01) == [0, 1, 0, 0]
    assert shares(logits, top_p=1.0) == pytest.approx(p, abs=0.02)
    assert shares(logits, top_k=3, top_p=0.5) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.02)


@pytest.mark.parametrize("options", [{"temperature": -1}, {"top_k": 0}, {"top_p": 0}, {"top_p": 2}])
def test_impossible_sampling_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        models.sample(torch.zeros(1, 3), **options)


def test_tokens_are_masked_in_the_papers_shares() -> None:
    text = tokens(200, 500, 50) + 2
    seen, targets = models.mask_tokens(
        text, 1, 60, special=(5,), generator=torch.Generator().manual_seed(0)
    )
    chosen = targets != -100
    assert torch.equal(targets[chosen], text[chosen])
    assert torch.equal(seen[~chosen], text[~chosen])
    assert not chosen[text == 5].any()
    assert chosen[text != 5].float().mean().item() == pytest.approx(0.15, abs=0.01)
    hidden, kept = (seen[chosen] == 1), (seen[chosen] == text[chosen])
    assert hidden.float().mean().item() == pytest.approx(0.8 + 0.1 / 60, abs=0.02)
    assert kept.float().mean().item() == pytest.approx(0.1 + 0.1 / 60, abs=0.02)


def test_translation_is_greedy_and_stops_at_the_end() -> None:
    torch.manual_seed(1)
    model = models.EncoderDecoder(11, 5, 8, 8, 2, 1)
    source, start, end = tokens(6, 7, 11), 0, 1
    padding = torch.arange(7) >= torch.tensor([7, 3, 5, 7, 2, 6])[:, None]
    out = model.translate(source, start, end, 6, padding)
    assert model.training
    model.eval()
    prefix = torch.cat([torch.zeros(6, 1, dtype=torch.long), out], 1)
    scores = model(source, prefix[:, :-1], padding).data.argmax(-1)
    for row, best in zip(out, scores, strict=True):
        ended = False
        for token, likeliest in zip(row.tolist(), best.tolist(), strict=True):
            assert token == (end if ended else likeliest)
            ended = ended or token == end
    assert out.shape[1] <= 6
    alone = model.translate(source[1:2, :3], start, end, 6)
    length = min(alone.shape[1], out.shape[1])
    assert torch.equal(alone[0, :length], out[1, :length])


def test_every_model_has_a_twin() -> None:
    """A new model fails here until torch_models.py has it, and a test above compares the two."""
    found = {name for name in models.__all__ if isinstance(getattr(models, name), type)}
    own = {name for name in found if issubclass(getattr(models, name), nn.Module)}
    assert own == {name for name in vars(torch_models) if name in own}
    assert len(own) == 11


def test_too_small_pictures_and_too_few_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        models.TwoConvNet(3, 9)
    with pytest.raises(ValueError, match="input and an output"):
        models.MLP([3])


def test_a_model_takes_tensors() -> None:
    assert models.MLP([4, 2])(Tensor(torch.zeros(3, 4))).shape == (3, 2)


def test_lengths_may_be_a_list() -> None:
    numbers = torch.ones(2, 3, dtype=torch.long)
    for model in (
        models.RecurrentClassifier("gru", 5, 4, 4, 2),
        models.TransformerClassifier(5, 3, 4, 2, 1, 2).eval(),
    ):
        expected = model(numbers, torch.tensor([3, 1])).data
        torch.testing.assert_close(model(numbers, [3, 1]).data, expected)
