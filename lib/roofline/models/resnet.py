"""A small residual network. He, Zhang, Ren, Sun, "Deep Residual Learning", 1512.03385, 4.2."""

from __future__ import annotations

from roofline import nn
from roofline.autograd import Tensor, relu
from roofline.nn import init


class ResidualBlock(nn.Module):
    """relu(x + F(x)), F two 3×3 convolutions with batch norm; (n, c, h, w) to (n, c', h/s, w/s).

    Where the shape changes, x goes through a 1×1 convolution (the paper's option B).
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """The paper's network for small pictures: 3 stages of ``blocks`` blocks, 6·blocks + 2 layers.

    (n, channels, h, w) to (n, classes); each stage halves the sides and doubles the width.
    ``ResNet(3)`` is ResNet-20.
    """

    def __init__(self, blocks: int = 3, channels: int = 3, classes: int = 10, width: int = 16):
        self.conv = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        stages, inputs = [], width
        for stage in range(3):
            outputs = width * 2**stage
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(ResidualBlock(inputs, outputs, stride))
                inputs = outputs
        self.blocks = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                init.he_normal_(module.weight.data)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(relu(self.bn(self.conv(x))))
        return self.head(self.flatten(self.pool(x)))
