"""Makes, checks and describes TFLite files."""
