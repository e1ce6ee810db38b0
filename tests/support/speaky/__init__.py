"""An SDK with the bones of one that Speakeasy generates: what is recognised is these, not a name."""
