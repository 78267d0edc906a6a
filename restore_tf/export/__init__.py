"""A trained network made into files that run without this package: SavedModel, TFLite."""
