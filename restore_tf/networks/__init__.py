"""What a network is: its base class, layers, losses and metrics."""
