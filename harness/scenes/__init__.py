"""The embedded text-to-image model `scenes`: its pictures and captions, its training and its scorers."""
