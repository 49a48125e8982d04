"""A multimodal language model that is shown a specialist's features beside its own."""
