"""Networks that the tasks are made of."""
