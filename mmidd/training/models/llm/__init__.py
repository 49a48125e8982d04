"""A causal language model that is shown a picture and the evidence of a forgery detector."""
