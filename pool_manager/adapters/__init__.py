"""One small file for each family of SDKs: recognised by what its classes are, and none of them imported."""
