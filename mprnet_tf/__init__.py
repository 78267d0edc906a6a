"""MPRNet (Zamir et al., CVPR 2021): model, recipes and published weights."""
