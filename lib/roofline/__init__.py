"""Under the Roofline: deep learning from backprop to Transformers, on your own hardware."""

__version__ = "0.1.0"
