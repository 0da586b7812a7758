"""What is told of the work: figures, log lines, traces. Nothing personal in any of them."""
