"""Lower precisions: calibration, which layers to keep in float, and a recipe per target."""
