"""Small convolutional networks for pictures.

relu stands after the pooling, not before: the larger of two numbers stays the larger when both are
cut off at 0, so the result is the same and the relu has a quarter of the work.
"""

from __future__ import annotations

from roofline import nn
from roofline.autograd import Tensor, relu


class TwoConvNet(nn.Module):
    """Two 3×3 convolutions, each pooled, then one or two linear layers.

    (n, channels, side, side) to (n, classes). The two networks that this course starts from are
    ``TwoConvNet()``, with 1,885,642 parameters and 526,876,416 FLOPs a picture, and
    ``TwoConvNet(channels=1, hidden=64)``, with 11,963,466 and 490,257,920. Nearly all parameters
    are in the first linear layer and nearly all FLOPs in the convolutions.
    """

    def __init__(
        self, channels: int = 3, side: int = 224, hidden: int | None = None, classes: int = 10
    ):
        self.conv1 = nn.Conv2d(channels, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        side = ((side - 2) // 2 - 2) // 2  # a 3×3 window without padding loses a border of 1
        if side < 1:
            raise ValueError("the pictures are too small for two convolutions: side is at least 10")
        features = 64 * side * side
        self.dense = nn.Linear(features, hidden) if hidden else None
        self.head = nn.Linear(hidden or features, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.pool(self.conv1(x)))
        x = self.flatten(relu(self.pool(self.conv2(x))))
        if self.dense is not None:
            x = relu(self.dense(x))
        return self.head(x)


class LeNet(nn.Module):
    """LeNet-5 of LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    (n, 1, 28, 28) to (n, classes). As usual today with relu and max pooling for tanh and averages,
    and with every map of the second convolution seeing every map of the first: 61,706 parameters.
    """

    def __init__(self, classes: int = 10):
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = relu(self.pool(self.conv1(x)))
        x = self.flatten(relu(self.pool(self.conv2(x))))
        return self.fc3(relu(self.fc2(relu(self.fc1(x)))))
