"""The parts of `restore-tf compare`: what was asked for, trainings, pictures, costs, curves."""
