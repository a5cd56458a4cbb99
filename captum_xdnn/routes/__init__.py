"""The ways to attributions: a single pass, the trunk hoisted, Captum's code; and which is taken."""
