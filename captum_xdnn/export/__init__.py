"""The attribution as a graph: exported, saved, served, compiled."""

from captum_xdnn.export.exporting import export_attribution
from captum_xdnn.export.loading import load
from captum_xdnn.export.program import AttributionProgram, Explanation

__all__ = ["AttributionProgram", "Explanation", "export_attribution", "load"]
