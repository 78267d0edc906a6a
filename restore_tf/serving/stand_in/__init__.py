"""A development server that speaks TensorFlow Serving's two protocols."""
