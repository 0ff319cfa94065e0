"""An exported detector at work: arrays alone, by ONNX Runtime or OpenVINO. Nothing here imports torch."""
