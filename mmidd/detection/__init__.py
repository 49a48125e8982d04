"""A trained detector applied to images, videos and folders."""
