"""SRN-DeblurNet (Tao et al., CVPR 2018): model, recipes and published weights."""
