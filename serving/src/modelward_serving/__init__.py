"""Modelward's model server: BentoML and ONNX Runtime behind the Open Inference Protocol."""
