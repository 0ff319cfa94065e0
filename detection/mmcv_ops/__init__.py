"""mmcv's table of kernels, filled with csrc where mmcv is installed without its own."""
