"""What a recurrent network keeps: one share for every step that it takes."""

from __future__ import annotations

from roofline.hardware.cost.checks import of_kind, whole
from roofline.hardware.cost.model import RNN

# Tensors of the hidden width a step and layer, besides the input, as PyTorch's cells keep them.
# rnn: its state, which tanh needs too. gru: state, r, z, n, the hidden part of n, state − n, and
# the third of the buffer of r and z that nobody needs. lstm: state, i, f, g, o, the cell before,
# tanh of the cell.
KEPT = {"rnn": 1, "gru": 7, "lstm": 7}


def recurrent_activations(model: RNN, sequence: int, batch: int = 1, element_bytes: int = 4) -> int:
    """Bytes that a stack of cells keeps for backpropagation through ``sequence`` steps.

    ``s·inputs + l·k·s·h`` elements a direction and sequence, k of :data:`KEPT`: they grow with the
    steps, though the parameters don't (Werbos, "Backpropagation through time", 1990). A layer's
    last state is one more where a next layer or an output reads it. In a vanilla network it is one
    more everywhere: its tanh needs it.
    """
    of_kind("model", model, RNN)
    s = whole("sequence", sequence, most=10**9)
    size = whole("batch", batch, most=10**9) * whole("element_bytes", element_bytes, most=8)
    last_states = model.layers - (0 if model.kind == "rnn" or model.vocabulary else 1)
    states = model.layers * KEPT[model.kind] * s + last_states
    if model.directions == 1:
        return size * (s * model.inputs + states * model.hidden)
    # Both directions read one input; a next layer reads a new tensor of the two side by side.
    joined = (model.layers - (0 if model.vocabulary else 1)) * s * 2 * model.hidden
    own = model.layers * (KEPT[model.kind] * s + (model.kind == "rnn"))
    return size * (s * model.inputs + joined + 2 * own * model.hidden)
