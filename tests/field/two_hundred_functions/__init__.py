"""Functions that people explain, each with one call of Captum's, and the same call here beside it."""
