"""The model as one ONNX graph, proved to give scikit-learn's scores, and golden rows for serving."""
