"""Speed, measured: a training step, sampling and start-up. `python -m benchmarks` runs all."""
