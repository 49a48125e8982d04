"""Small raw trees of the other sources, in the layouts that their readers know."""
