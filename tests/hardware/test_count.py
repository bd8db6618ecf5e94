"""Counts against PyTorch's FLOP counter, hand counts and brute force."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from roofline.hardware.count import Counter, count
from torch.utils._python_dispatch import _get_current_dispatch_mode
from torch.utils.flop_counter import FlopCounterMode

F = torch.nn.functional
small = st.integers(1, 6)


def torch_flops(function) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def test_matrix_product_by_hand():
    x, w = torch.randn(3, 4), torch.randn(4, 5)
    counts = count(torch.matmul, x, w)
    assert torch.equal(counts.result, x @ w)
    assert counts.flops == 2 * 3 * 4 * 5
    assert counts.by_op == {"mm": 120}
    assert counts.bytes_moved == 4 * (12 + 20 + 15)
    assert counts.bytes_allocated == counts.largest_allocation == counts.peak_bytes == 60
    assert counts.launches == 1


@settings(max_examples=25, deadline=None)
@given(b=small, m=small, k=small, n=small)
def test_products_equal_torch_counter(b, m, k, n):
    x, y, bias = torch.randn(b, m, k), torch.randn(b, k, n), torch.randn(n)

    def products():
        torch.bmm(x, y)
        torch.baddbmm(bias, x, y)
        torch.addmm(bias, x[0], y[0])
        x[0] @ y[0]
        x @ y[0]
        torch.einsum("bmk,bkn->mn", x, y)
        torch.mm(x[0], y[0], out=torch.empty(m, n))

    assert count(products).flops == torch_flops(products) > 0


@settings(max_examples=25, deadline=None)
@given(
    batch=small, channels=small, filters=small, size=st.integers(3, 8), kernel=st.integers(1, 3),
    stride=st.integers(1, 2), transposed=st.booleans(), dimensions=st.integers(1, 2),
)  # fmt: skip
def test_convolution_equals_torch_counter(
    batch, channels, filters, size, kernel, stride, transposed, dimensions
):
    layers = {
        (1, False): torch.nn.Conv1d, (1, True): torch.nn.ConvTranspose1d,
        (2, False): torch.nn.Conv2d, (2, True): torch.nn.ConvTranspose2d,
    }  # fmt: skip
    layer = layers[dimensions, transposed](channels, filters, kernel, stride=stride)
    x = torch.randn(batch, channels, *[size] * dimensions, requires_grad=True)

    def step():
        layer(x).sum().backward()

    assert count(step).flops == torch_flops(step) > 0


def test_grouped_convolution_backward_by_hand():
    """PyTorch's counter forgets the groups in the gradient of the weight."""
    layer = torch.nn.Conv2d(8, 8, 3, groups=4, bias=False)
    x = torch.randn(2, 8, 6, 6, requires_grad=True)
    forward = 2 * 2 * (4 * 4) * 8 * 2 * 9
    assert count(layer, x).flops == torch_flops(lambda: layer(x)) == forward
    assert count(lambda: layer(x).sum().backward()).flops == 3 * forward
    assert torch_flops(lambda: layer(x).sum().backward()) == (1 + 1 + 4) * forward


@pytest.mark.parametrize(
    "kernel",
    [
        lambda x, w: torch.ops.aten._slow_conv2d_forward(x, w, [3, 3], None, [2, 2], [1, 1]),
        lambda x, w: torch.ops.aten.thnn_conv2d(x, w, [3, 3], None, [2, 2], [1, 1]),
        lambda x, w: torch.ops.aten.slow_conv_dilated2d(x, w, [3, 3], None, [2, 2], [1, 1]),
        lambda x, w: torch.ops.aten.mkldnn_convolution(x, w, None, [1, 1], [2, 2], [1, 1], 1),
    ],
    ids=["slow", "thnn", "dilated", "mkldnn"],
)
def test_a_convolution_s_kernel_called_by_name_costs_what_the_convolution_does(kernel):
    x, w = torch.randn(2, 3, 9, 9), torch.randn(4, 3, 3, 3)
    whole = count(lambda: torch.conv2d(x, w, stride=2, padding=1))
    ours = count(kernel, x, w)
    assert ours.flops == whole.flops == 2 * 2 * 25 * 4 * 27
    assert torch.allclose(ours.result, whole.result, atol=1e-5)


def mlp_step():
    model = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    x, y = torch.randn(7, 12), torch.randint(3, (7,))
    optimizer = torch.optim.AdamW(model.parameters())
    return lambda: (F.cross_entropy(model(x), y).backward(), optimizer.step())


def test_training_step_equals_torch_counter_and_the_hand_count():
    step = mlp_step()
    forward = 2 * 7 * (12 * 16 + 16 * 3)
    expected = 3 * forward - 2 * 7 * 12 * 16  # nothing flows back into the data
    assert count(step).flops == torch_flops(step) == expected


def cell_by_cell(cells, x, directions):
    """An LSTM as loops over torch.nn.LSTMCell, which the FLOP counter sees through."""
    for layer in cells:
        outputs = []
        for cell, backward in zip(layer, range(directions), strict=True):
            state, steps = None, []
            for token in x.flip(0) if backward else x:
                state = cell(token, state)
                steps.append(state[0])
            outputs.append(torch.stack(steps[::-1] if backward else steps))
        x = torch.cat(outputs, -1)
    return x


@settings(max_examples=12, deadline=None)
@given(
    time=small, batch=small, inputs=small, hidden=small, layers=st.integers(1, 2),
    directions=st.integers(1, 2), batch_first=st.booleans(),
)  # fmt: skip
def test_lstm_equals_a_loop_of_cells(time, batch, inputs, hidden, layers, directions, batch_first):
    lstm = torch.nn.LSTM(
        inputs, hidden, layers, bidirectional=directions == 2, batch_first=batch_first
    )
    cells = [
        [torch.nn.LSTMCell(inputs if not layer else hidden * directions, hidden)
         for _ in range(directions)]
        for layer in range(layers)
    ]  # fmt: skip
    x = torch.randn(time, batch, inputs)
    mine = x.transpose(0, 1) if batch_first else x
    assert torch_flops(lambda: lstm(mine)) == 0  # the reason for ours
    expected = torch_flops(lambda: cell_by_cell(cells, x, directions))
    assert count(lstm, mine).flops == expected > 0
    with torch.no_grad():
        assert count(lstm, mine).flops == expected
    with torch.inference_mode():
        assert count(lstm, mine).flops == expected
    assert count(lambda: lstm(mine)[0].sum().backward()).flops == 3 * expected


@pytest.mark.parametrize("kind", [torch.nn.GRU, torch.nn.RNN])
def test_other_recurrent_layers_equal_torch_counter(kind):
    layer, x = kind(5, 7, 2), torch.randn(4, 3, 5)
    assert count(layer, x).flops == torch_flops(lambda: layer(x)) > 0


@pytest.mark.parametrize("causal", [False, True])
def test_cpu_attention_equals_the_math_kernel(causal):
    q, k, v = (torch.randn(2, 3, length, 8, requires_grad=True) for length in (5, 6, 6))

    def attend():
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    counts = count(attend)
    assert "_scaled_dot_product_flash_attention_for_cpu" in counts.by_op
    assert torch_flops(attend) == 0
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = torch_flops(attend)
    assert counts.flops == expected == 2 * 2 * 3 * 5 * 6 * (8 + 8)
    # Backward: five products to forward's two, as PyTorch counts its other fused kernels.
    assert count(lambda: attend().sum().backward()).flops * 2 == expected * (2 + 5)


def test_products_that_torch_counter_omits():
    x, w = torch.randn(5), torch.randn(5, 3)
    assert count(lambda: x @ w).flops == 2 * 5 * 3
    assert count(lambda: x @ x).flops == 2 * 5
    assert count(lambda: w.T @ x).flops == 2 * 5 * 3
    assert count(lambda: torch.ones(3, 3).addmm_(w.T, w)).flops == 2 * 3 * 5 * 3
    assert count(torch.outer, x, x).flops == 0  # 25 multiplications: elementwise


def test_meta_tensors_cost_what_real_ones_do():
    def step(device):
        with torch.device(device):
            torch.manual_seed(0)
            layer = torch.nn.Linear(20, 30)
            x = torch.empty(10, 20)

        def run():
            layer(x).square().sum().backward()
            layer.zero_grad()

        return count(run)

    real, meta = step("cpu"), step("meta")
    for name in ("flops", "bytes_moved", "bytes_allocated", "launches", "by_op"):
        assert getattr(real, name) == getattr(meta, name), name


def test_gpt2_forward_on_meta_is_the_exact_dense_count():
    """2(12lh² + Vh)s + 4ls²h for one sequence, here with l=2, h=64, a=4, s=32, V=100."""
    h, s, vocabulary = 64, 32, 100
    with torch.device("meta"):
        block = torch.nn.TransformerEncoderLayer(h, 4, 4 * h, 0.0, batch_first=True)
        head, x = torch.nn.Linear(h, vocabulary, bias=False), torch.empty(1, s, h)
    counts = count(lambda: head(block(block(x))))
    assert counts.flops == 2 * (12 * 2 * h * h + vocabulary * h) * s + 4 * 2 * s * s * h


def test_bytes_of_common_kernels_by_hand():
    x = torch.randn(100)
    table, picks = torch.randn(50, 10), torch.tensor([1, 2, 3])
    cases = [
        (lambda: x + 1, 400 + 400),
        (lambda: x.add_(1), 400 + 400),
        (lambda: x.zero_(), 400),
        (lambda: x.copy_(torch.ones(100)), 400 + 400 + 400),  # ones writes, copy_ reads and writes
        (lambda: torch.add(x, x, out=torch.empty(100)), 400 + 400 + 400),
        (lambda: x.sum(), 400 + 4),
        (lambda: torch.ones(1).expand(10, 10) + 1, 4 + 4 + 400),  # an expanded tensor is small
        (lambda: F.embedding(picks, table), 3 * 8 + 120 + 120),
        (lambda: table[picks], 3 * 8 + 120 + 120),
        (lambda: torch.empty(1000), 0),
    ]
    for function, expected in cases:
        assert count(function).bytes_moved == expected


def test_views_are_free():
    x = torch.randn(6, 4)
    counts = count(
        lambda: x.view(4, 6).t()[1:3].unsqueeze(0).expand(2, 2, 4).detach().reshape(2, 8)
    )
    assert counts.launches == 1  # reshape of an expanded tensor copies
    assert counts.bytes_allocated == 2 * 8 * 4
    counts = count(lambda: x.reshape(24).unflatten(0, (2, 12)).chunk(2)[0])
    assert (counts.launches, counts.bytes_moved, counts.bytes_allocated) == (0, 0, 0)
    assert counts.views >= 3


def test_peak_follows_what_is_alive():
    def chain():
        x = torch.zeros(1000)  # 4000
        y = x + 1  # 8000
        del x  # 4000
        z = y + 1  # 8000
        del y
        return z + torch.zeros(1).expand(1000)  # 4000 + 4 + 4000

    counts = count(chain)
    assert counts.peak_bytes == 8004
    assert counts.bytes_allocated == 4000 * 4 + 4
    assert counts.largest_allocation == 4000


def test_a_view_keeps_the_whole_storage_alive():
    def hold():
        keep = torch.zeros(1000)[:1]
        gc.collect()
        return torch.zeros(1000) + keep

    assert count(hold).peak_bytes == 12000


def test_what_autograd_keeps_counts_as_alive():
    x = torch.randn(1000, requires_grad=True)
    assert count(lambda: x.exp().exp().exp()).peak_bytes == 12000
    with torch.no_grad():
        assert count(lambda: x.exp().exp().exp()).peak_bytes == 8000


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), min_size=1, max_size=30))
def test_peak_equals_brute_force(plan):
    """A random script of allocations and releases, followed with a plain sum."""
    sizes: list[int] = []
    peak = 0
    for keep, size in plan:
        if keep or not sizes:
            sizes.append(size)
        else:
            sizes.pop(size % len(sizes))
        peak = max(peak, sum(sizes))

    def script():
        held = []
        for keep, size in plan:
            if keep or not held:
                held.append(torch.empty(size))
            else:
                held.pop(size % len(held))

    assert count(script).peak_bytes == 4 * peak


def test_a_storage_that_grows_is_an_allocation():
    counts = count(lambda: torch.mm(torch.ones(3, 4), torch.ones(4, 5), out=torch.empty(0)))
    assert counts.bytes_allocated == 4 * (12 + 20 + 15)
    counts = count(lambda: torch.empty(2).resize_(10))
    assert (counts.bytes_allocated, counts.peak_bytes) == (8 + 40, 40)


def test_tensors_made_from_lists_are_allocations():
    assert count(lambda: torch.tensor([1.0, 2.0])).bytes_allocated == 8


def test_elementwise_work_is_apart():
    x = torch.randn(10, 10)
    counts = count(lambda: (x * 2 + 1).sum())
    assert (counts.flops, counts.elementwise, counts.launches) == (0, 300, 3)
    product = count(lambda: (x.unsqueeze(2) * x.unsqueeze(0)).sum(1))  # a product in disguise
    assert (product.flops, product.elementwise) == (0, 2000)
    assert count(lambda: x.clone()).elementwise == 0


def test_launches_by_op():
    counts = count(lambda: torch.relu(torch.relu(torch.ones(3))))
    assert counts.launches_by_op == {"ones": 1, "relu": 2}


def test_an_exception_leaves_no_mode_behind():
    def fails():
        torch.ones(3) @ torch.ones(4)

    with pytest.raises(RuntimeError, match="size"):
        count(fails)
    assert _get_current_dispatch_mode() is None


def test_nested_in_itself_and_in_other_modes():
    x, w = torch.randn(3, 4), torch.randn(4, 5)
    outer = count(lambda: (count(torch.mm, x, w).flops, x @ w))
    assert outer.result[0] == 120
    assert outer.flops == 240
    with FlopCounterMode(display=False) as theirs:
        assert count(torch.mm, x, w).flops == 120
    assert theirs.get_total_flops() == 120
    assert count(torch_flops, lambda: x @ w).flops == 120


def test_same_counts_every_time():
    step = mlp_step()
    step()
    first, second = count(step), count(step)
    first.result = second.result = None
    assert first == second


def test_result_is_untouched_by_counting():
    torch.manual_seed(0)
    plain = torch.nn.Linear(3, 3)(torch.randn(2, 3))
    torch.manual_seed(0)
    counted = count(lambda: torch.nn.Linear(3, 3)(torch.randn(2, 3))).result
    assert torch.equal(plain, counted)


def test_sparse_and_complex_and_empty_inputs_do_not_break_it():
    sparse = torch.eye(3).to_sparse()
    count(lambda: sparse @ torch.ones(3, 2))
    count(lambda: torch.fft.fft(torch.randn(8)))
    assert count(lambda: torch.zeros(0, 3) @ torch.zeros(3, 0)).flops == 0
    assert count(lambda: 7).result == 7


def test_a_counter_hands_out_kernels_one_by_one():
    calls = []

    class Listener(Counter):
        def kernel(self, call):
            calls.append((call.operator.name, call.flops, len(call.inputs), len(call.made)))

    with Listener():
        torch.relu(torch.ones(2, 2) @ torch.ones(2, 2)).add_(1)
    assert calls == [("ones", 0, 0, 1)] * 2 + [
        ("mm", 16, 2, 1),
        ("relu", 0, 1, 1),
        ("add_", 0, 1, 0),
    ]


def test_counting_does_not_import_the_compiler():
    """torch._dynamo takes seconds to import, and a check in a notebook must be instant."""
    code = (
        "import sys, torch\nfrom roofline.hardware.count import count\n"
        "count(lambda: torch.ones(2, 2) @ torch.ones(2, 2))\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
