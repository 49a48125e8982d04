"""One module per source; every `Reader` subclass in here is registered on import."""
