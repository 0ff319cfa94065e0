"""An encoder of pictures written as a graph: `repmet export --classifier`. Needs torch and onnx."""
