"""Face detectors behind one interface; `base` holds the interface and the registry."""
