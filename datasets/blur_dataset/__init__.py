"""Blur dataset (kwentar, Kaggle): 350 scenes photographed sharp, in motion and out of focus."""
