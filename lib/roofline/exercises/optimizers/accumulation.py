"""A large batch in a small memory."""

from __future__ import annotations

import math
from typing import Any

import torch

from roofline import autograd
from roofline.autograd import Tensor
from roofline.grading import (
    Exercise,
    Item,
    call,
    compare,
    exercise,
    generator,
    require,
)


@exercise("optimizers.accumulate")
class Accumulate(Exercise):
    """A large batch in a small memory."""

    points, minutes, difficulty, importance = 4, 10, 3, 5

    def cases(self, seed: int) -> Any:
        random = generator(seed)
        weight, bias = (torch.randn(s, generator=random) for s in ((3,), (1,)))
        return weight, bias, torch.randn(10, 3, generator=random), torch.randn(10, generator=random)

    @staticmethod
    def parameters(cases: Any) -> list[Tensor]:
        return [Tensor(v.clone(), requires_grad=True) for v in cases[:2]]

    @staticmethod
    def loss(parameters: list[Tensor], x: torch.Tensor, y: torch.Tensor) -> Tensor:
        weight, bias = parameters
        return autograd.mean((autograd.matmul(Tensor(x), weight) + bias - y) ** 2)

    def probe(self, answer: Any, cases: Any) -> Any:
        return {"even": self.run(answer, cases, 5), "uneven": self.run(answer, cases, 4)}

    def run(self, answer: Any, cases: Any, size: int) -> dict[str, Any]:
        parameters, rows, alive, most = self.parameters(cases), [], [], 0

        def loss_of(x: Any, y: Any) -> Tensor:
            nonlocal most
            rows.append(len(x))
            loss = self.loss(parameters, x, y)
            alive.append(loss.node)
            most = max(most, sum(node is not None and node.pullback is not None for node in alive))
            return loss

        mean = call(answer, parameters, loss_of, *cases[2:], size, may_change=(0,))
        return {
            "mean": mean,
            "gradients": [p.grad for p in parameters],
            "stayed": all(
                torch.equal(p.data, v) for p, v in zip(parameters, cases[:2], strict=True)
            ),
            "rows": rows,
            "alive": most,
        }

    def judge(self, outputs: Any, cases: Any) -> list[Item]:
        parameters = self.parameters(cases)
        whole = self.loss(parameters, *cases[2:])
        whole.backward()
        right, mean = [p.grad for p in parameters], whole.item()
        parts = {size: self.pieces(cases, size) for size in (4, 5)}
        full = self.pieces(tuple(v[:8] if len(v) == 10 else v for v in cases), 4)[0]
        items = []
        for name, points, size in (("equal pieces", 1, 5), ("a last piece that is shorter", 1, 4)):
            got = outputs["even" if size == 5 else "uneven"]
            summed, last = parts[size]
            share = len(cases[3]) / size
            item = compare(
                name,
                points,
                got["gradients"] if got["mean"].ok else got["mean"],
                right,
                [
                    (summed, "these are sums of means: what share of the batch is a piece?"),
                    (last, "only the last piece is left: were gradients cleared between?"),
                    ([g / math.ceil(share) for g in summed], "pieces differ in size"),
                    ([g * size / 10 for g in summed], "the last piece has fewer rows than size"),
                    ([g * 4 / 10 for g in full], "the rows after the last full piece are missing"),
                    ([None, None], "no gradient arrived: is backward called?"),
                ],
            )
            if not item.lost and not got["stayed"]:
                hint = "leave p.data alone: the step is the optimizer's, once all pieces are in"
                item = Item(name, points, 0.0, "it changed the parameters", hint)
            items.append(item)
        items.append(self.mean_loss(outputs["uneven"]["mean"], cases, mean))
        name = "one piece at a time"
        if items[1].lost:
            items.append(Item(name, 1, 0.0, "looked at once the gradient is right"))
            return items
        sizes, alive = outputs["uneven"]["rows"], outputs["uneven"]["alive"]
        hint = "call backward for each piece before the next one runs"
        if alive <= 1:
            hint = "pieces hold size rows, here 4, and the last one what is left"
        tapes = "1 tape was" if alive == 1 else f"{alive} tapes were"
        message = f"{tapes} alive at once, pieces of {sizes} rows"
        holds = alive <= 1 and sorted(sizes, reverse=True) == [4, 4, 2]
        items.append(require(name, 1, holds, message, hint))
        return items

    def mean_loss(self, made: Any, cases: Any, mean: float) -> Item:
        name, rows = "the mean loss", torch.arange(10).split(4)
        x, y = cases[2:]
        means = [self.loss(self.parameters(cases), x[r], y[r]).item() for r in rows]
        parts = [m * len(r) / 10 for m, r in zip(means, rows, strict=True)]
        mistakes = [
            (parts[-1], "that is the last piece's share: add up those of all pieces"),
            (means[-1], "that is the last piece's mean: add up the shares of all pieces"),
            (sum(means), "a sum of means: weigh each piece by its share of the rows"),
            (sum(means) / 3, "pieces differ in size: weigh each by its share of the rows"),
            (sum(parts[:-1]), "the rows after the last full piece are missing"),
        ]
        item = compare(name, 1, made, mean, mistakes, rtol=1e-5, may_change=True)
        if "returned a Tensor" in item.message:
            hint = "a loss that is still a Tensor holds its tape: add up loss.item()"
            return Item(name, 1, 0.0, item.message, hint)
        return item

    def pieces(self, cases: Any, size: int) -> tuple[list[Any], list[Any]]:
        """Sum of the pieces' gradients, and the last piece's."""
        parameters = self.parameters(cases)
        for rows in torch.arange(len(cases[3])).split(size):
            last = self.parameters(cases)
            for group in (parameters, last):
                self.loss(group, cases[2][rows], cases[3][rows]).backward()
        return [p.grad for p in parameters], [p.grad for p in last]
