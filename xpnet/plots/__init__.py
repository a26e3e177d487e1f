"""Pictures of training and of predictions, drawn with matplotlib."""

from xpnet.plots.boundary import decision_boundary
from xpnet.plots.confusion import confusion_matrix
from xpnet.plots.curves import history
from xpnet.plots.grid import images
from xpnet.plots.live import LiveCurves

__all__ = ["LiveCurves", "confusion_matrix", "decision_boundary", "history", "images"]
