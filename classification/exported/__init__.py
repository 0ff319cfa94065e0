"""An exported encoder at work: arrays alone, by ONNX Runtime or OpenVINO. Nothing here imports torch."""
