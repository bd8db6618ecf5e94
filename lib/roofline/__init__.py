"""Under the Roofline: deep learning from backprop to Transformers, on the hardware that you have."""

__version__ = "0.1.0"
