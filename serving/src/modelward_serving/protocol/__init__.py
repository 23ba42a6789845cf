"""The Open Inference Protocol, independent of REST and gRPC."""
