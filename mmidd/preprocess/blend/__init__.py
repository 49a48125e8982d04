"""Self-blended forgeries: masks from landmarks, colour and frequency transforms, the blend."""
