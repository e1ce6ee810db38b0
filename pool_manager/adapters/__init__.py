"""One small file for each family of SDKs, made of public names only; found by entry point."""
