"""Proves of a watched run how its tensors move along the ray; knows no Captum and no route."""
