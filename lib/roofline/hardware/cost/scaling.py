"""Chinchilla's law: the loss of N parameters after D tokens, and the best N for a budget.

``L(N, D) = E + A/N^α + B/D^β``, Hoffmann et al., arXiv 2203.15556, equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from roofline.hardware.cost.checks import of_kind, positive


@dataclass(frozen=True)
class ScalingLaw:
    """The law's five numbers, as a paper fitted them; nats a token."""

    source: str
    irreducible: float
    model: float
    data: float
    model_exponent: float
    data_exponent: float


HOFFMANN = ScalingLaw("Hoffmann et al., arXiv 2203.15556, eq. 10", 1.69, 406.4, 410.7, 0.34, 0.28)
# What equation 10 rounds, from the source of the paper (Besiroglu et al., arXiv 2404.10102). Two
# digits more of the exponents move the optimum of Gopher's budget from 32B to the paper's 40B.
HOFFMANN_UNROUNDED = ScalingLaw(
    "Hoffmann et al., arXiv 2203.15556, before rounding", 1.6934, 406.4, 410.7, 0.3392, 0.2849
)
BESIROGLU = ScalingLaw(
    "Besiroglu et al., arXiv 2404.10102", 1.8172, 482.01, 2085.43, 0.3478, 0.3658
)


@dataclass(frozen=True)
class Optimum:
    """Parameters and tokens that a budget is best spent on, and the loss they reach."""

    parameters: float
    tokens: float
    loss: float


def loss(parameters: float, tokens: float, law: ScalingLaw = HOFFMANN) -> float:
    """``E + A/N^α + B/D^β`` nats a token."""
    of_kind("law", law, ScalingLaw)
    return law.irreducible + model_loss(parameters, law) + data_loss(tokens, law)


def model_loss(parameters: float, law: ScalingLaw = HOFFMANN) -> float:
    """``A/N^α``: what a larger model would gain."""
    of_kind("law", law, ScalingLaw)
    return law.model / positive("parameters", parameters) ** law.model_exponent


def data_loss(tokens: float, law: ScalingLaw = HOFFMANN) -> float:
    """``B/D^β``: what more data would gain."""
    of_kind("law", law, ScalingLaw)
    return law.data / positive("tokens", tokens) ** law.data_exponent


def parameter_exponent(law: ScalingLaw = HOFFMANN) -> float:
    """``a = β/(α+β)`` of ``N ∝ C^a``. Hoffmann et al., arXiv 2203.15556, equation 4."""
    of_kind("law", law, ScalingLaw)
    return law.data_exponent / (law.model_exponent + law.data_exponent)


def optimum(flops: float, law: ScalingLaw = HOFFMANN) -> Optimum:
    """The N and D of least loss with ``6ND = flops``.

    ``N = G (C/6)^a``, ``D = (C/6)^b / G``, ``G = (αA/βB)^(1/(α+β))``. Hoffmann et al., arXiv
    2203.15556, equation 4.
    """
    of_kind("law", law, ScalingLaw)
    budget = positive("flops", flops) / 6
    both = law.model_exponent + law.data_exponent
    ratio = law.model_exponent * law.model / (law.data_exponent * law.data)
    count = ratio ** (1 / both) * budget ** parameter_exponent(law)
    tokens = budget / count
    return Optimum(count, tokens, loss(count, tokens, law))


def tokens_for(parameters: float, law: ScalingLaw = HOFFMANN) -> float:
    """Tokens for which ``parameters`` are the best choice: the optimum read backwards."""
    of_kind("law", law, ScalingLaw)
    both = law.model_exponent + law.data_exponent
    ratio = law.model_exponent * law.model / (law.data_exponent * law.data)
    scale = ratio ** (1 / both)
    budget = (positive("parameters", parameters) / scale) ** (1 / parameter_exponent(law))
    return budget / parameters
