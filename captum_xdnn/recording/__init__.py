"""The user's own forward pass, watched: every operation as torch dispatches it.

Nothing is traced ahead and no Python object is remembered: a run is what was computed, and all
that is kept of it afterwards is its structure.
"""
