"""Going on with a run: checkpoints, what may change, what has been lost, and `srpo doctor`."""
