"""Training: tasks (a method's model, losses and scores), one loop for all, checkpoints."""
