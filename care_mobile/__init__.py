"""care-mobile."""
