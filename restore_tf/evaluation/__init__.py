"""Scores, reports and what they are made of."""
