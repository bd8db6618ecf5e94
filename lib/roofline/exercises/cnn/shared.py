"""What several exercises of chapter 5 share: ready-made ways out, and counted items."""

from __future__ import annotations

from roofline.grading import Call, Item

READY_MADE = (
    "torch.nn.Conv2d",
    "aten::mkldnn_convolution",
    "aten::_slow_conv2d_forward",
    "aten::slow_conv_dilated2d",
    "aten::slow_conv3d_forward",
    "aten::slow_conv_dilated3d",
    "aten::slow_conv_transpose2d",
    "aten::slow_conv_transpose3d",
    "aten::_nnpack_spatial_convolution",
    "roofline.autograd.conv2d",
    "roofline.autograd.conv.convolution",
    "roofline.nn.Conv2d",
)
AUTOGRAD = (
    "torch.Tensor.backward",
    "torch.autograd.backward",
    "torch.autograd.grad",
    "torch.func.vjp",
    "torch.func.grad",
    "torch.func.jvp",
    "torch.func.jacfwd",
    "torch.autograd.forward_ad.make_dual",
    "roofline.autograd.backward",
)


def later(item: Item, name: str, points: float = 1) -> Item | None:
    """A counted item that waits for the values; None if they are right."""
    if not item.lost:
        return None
    return Item(name, points, 0.0, "counted once the values are right")


def hinted(item: Item, hint: str) -> Item:
    return Item(item.name, item.points, 0.0, item.message, hint) if item.lost else item


def multiplied(name: str, made: Call, flops: int) -> Item | None:
    """The item, lost, if fewer FLOPs were counted than the product needs; None if all were."""
    if not made.ok or made.counts["flops"] >= flops:
        return None
    seen = f"{made.counts['flops']:,} FLOPs of products were counted, {flops:,} are needed"
    hint = "only torch's matrix products are counted: one product makes all sums"
    return Item(name, 1, 0.0, seen, hint)


def wasted(name: str, made: Call, flops: int, hint: str) -> Item | None:
    """The item, lost, if many more FLOPs were counted than the product needs. A few more come with
    a row of ones for the bias."""
    if not made.ok or made.counts["flops"] <= 1.25 * flops:
        return None
    seen = f"{made.counts['flops']:,} FLOPs of products were counted, {flops:,} are needed"
    return Item(name, 1, 0.0, seen, hint)
