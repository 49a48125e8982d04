"""Two descriptions of every sample: the face, and its environment; never a verdict."""
