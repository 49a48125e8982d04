"""Sources on disk become labelled face crops."""
