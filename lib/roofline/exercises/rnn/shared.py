"""What several exercises of chapter 6 may not call."""

from __future__ import annotations

RECURRENT = (
    "torch.nn.RNN",
    "torch.nn.RNNCell",
    "torch.nn.LSTM",
    "torch.nn.LSTMCell",
    "torch.nn.GRU",
    "torch.nn.GRUCell",
    "torch.rnn_tanh",
    "torch.rnn_tanh_cell",
    "torch.lstm",
    "torch.lstm_cell",
    "roofline.autograd.rnn",
    "roofline.autograd.lstm",
    "roofline.autograd.gru",
    "roofline.nn.RNN",
    "roofline.nn.LSTM",
    "roofline.nn.GRU",
)
DERIVATIVES = (
    "torch.autograd.grad",
    "torch.autograd.backward",
    "torch.Tensor.backward",
    "torch.autograd.functional.jacobian",
    "torch.func.vjp",
    "torch.func.jacrev",
    "torch.func.jacfwd",
    "torch.func.jvp",
    "torch.func.grad",
    "torch.autograd.forward_ad.make_dual",
    "roofline.autograd.backward",
)
