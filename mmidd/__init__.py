"""mmidd: from raw deepfake datasets to a trained, evaluated detector."""

__version__ = "0.1.0"
