"""The launcher and mmengine's Runner, hooks, checkpoints, logs."""
