"""Training runs: learner, optimizer, schedule, checkpoints, validation, logs."""
