"""Kernels of this repository: log lines stay out of cells, no history file."""

c = get_config()  # noqa: F821
# TensorFlow's C++ log lines go to the terminal, not into a cell's output.
c.IPKernelApp.capture_fd_output = False
c.HistoryManager.enabled = False
# The kernel talks to this machine only; its warning about that says nothing new.
c.IPKernelApp.log_level = 40
