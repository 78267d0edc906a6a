"""Weights of a run, and files of weights from elsewhere."""
