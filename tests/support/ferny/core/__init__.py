"""What all of Fern's SDKs have a copy of."""
