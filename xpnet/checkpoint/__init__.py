"""Checkpoints: a model, its optimizer and whatever else a run needs to go on, in one folder.

Other programs can read such a folder; there is no pickle in it. (For the weights of a model alone
there are `xpnet.save` and `xpnet.load`: one file.) ::

    checkpoint/
        state.json              all parts, without the elements of their arrays
        model.safetensors       the arrays of the part "model"
        optimizer.safetensors   and of the part "optimizer"; any other part likewise
        SHA256SUMS              what `sha256sum -c SHA256SUMS` verifies inside of the folder

``state.json`` is ``{"format": "xpnet checkpoint", "version": 1, "parts": {...}}``, with one entry
for each part. Four things are written as JSON does not have them:

- an array is ``{"$array": name}``, the name being that of a tensor in the file of the part: the
  keys and indices that lead to the array, joined by dots (the name of the part where the whole
  part is one array). For a model these are the names of its parameters and buffers, so
  ``safetensors.numpy.load_file("checkpoint/model.safetensors")`` returns what PyTorch would name
  the same way. A part without arrays has no file;
- the floats that JSON lacks are ``{"$float": "nan"}``, ``"inf"`` or ``"-inf"``; all others have the
  digits that give them back exactly;
- a key that starts with ``$`` is written with one more of them;
- tuples are lists.

The same state gives the same bytes in every file, on every array library. Whoever changes a file
has to renew ``SHA256SUMS``, for example by ``sha256sum state.json *.safetensors > SHA256SUMS``.

A checkpoint is replaced as a whole. The new one is written to ``<path>.tmp-<process>-<random>`` and
flushed to the disk; then the old one is renamed to ``<path>.old``, the new one to ``<path>``, and
``<path>.old`` is removed. Between the two renames ``<path>`` is missing, and `load` reads
``<path>.old``. So there is a whole checkpoint at any moment, whenever the process is killed or the
disk fails; what a killed process has left is removed by the next `save` to the same path. One
process at a time may write to a path; any number may read it meanwhile.
"""

from xpnet.checkpoint.saving import load, remove, save

__all__ = ["load", "remove", "save"]
