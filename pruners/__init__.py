"""Pruning methods: tensors in, tensors out. A new method is one file here and one line in `PRUNERS`."""

# name → "module:function"; strings, so that listing the methods does not import torch.
PRUNERS: dict[str, str] = {
    "magnitude": "pruners.magnitude:prune",
    "random": "pruners.random:prune",
}
