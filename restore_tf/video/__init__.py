"""Clips and streams of frames."""
