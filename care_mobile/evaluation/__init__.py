"""Accuracy of bundles on folders of images, with the command `care-eval`. No torch needed."""
