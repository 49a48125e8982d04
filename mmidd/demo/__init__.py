"""The demo world: small raw trees in official layouts, forged from real portraits (see `world`)."""
