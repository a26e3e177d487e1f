"""Models as ONNX files."""

from xpnet.interop.onnx.exporting import export

__all__ = ["export"]
