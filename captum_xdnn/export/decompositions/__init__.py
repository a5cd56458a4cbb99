"""Operations of backward passes as the operations that ONNX has, one file a family."""

from captum_xdnn.export.decompositions.table import TABLE as TABLE
from captum_xdnn.export.decompositions.table import table_of as table_of
from captum_xdnn.export.decompositions.while_tracing import WHILE_TRACING as WHILE_TRACING
