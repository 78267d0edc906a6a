"""MAXIM (Tu et al., CVPR 2022): model, recipes, converter of the published weights."""
