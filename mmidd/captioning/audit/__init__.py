"""Whether the captions of a backend can be trusted: automatic checks, and a page for people to judge by."""
