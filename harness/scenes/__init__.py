"""The embedded text-to-image model `scenes`: its world, its training and its judges."""
