"""TFLite files: made, checked and described."""
