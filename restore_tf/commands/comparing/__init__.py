"""The parts of `restore-tf compare`: request, trainings, pictures, costs, curves."""
