"""An SDK with the bones of one that Fern generates: what is recognised is these, not a name."""
