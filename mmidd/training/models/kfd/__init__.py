"""The parts of KFD's detector (arXiv 2503.14853, section 3.1)."""
