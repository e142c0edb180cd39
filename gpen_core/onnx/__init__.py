"""ONNX: files of other programs in, our networks out."""
