"""RealBlur: real camera shake, photographed with two cameras at once (Rim et al. 2020)."""
