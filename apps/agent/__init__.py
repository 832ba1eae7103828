"""The node agent: caps and clocks of one node's GPUs for the pods that hold them, on a budget that expires."""
