"""Modelward's training pipeline: from declared data to a verified ONNX bundle."""
