"""Pruning methods: tensors in, tensors out. A new method is one file here and one line in `PRUNERS`."""

# name → "module:function"; strings, so that listing the methods does not import torch.
PRUNERS: dict[str, str] = {
    "magnitude": "pruners.magnitude:prune",
    "random": "pruners.random:prune",
    "wanda": "pruners.wanda:prune",
    "sparsegpt": "pruners.sparsegpt:prune",
}

# What a user asks for: name → (how sparsity is spread over layers, see `allocate.py`; how a layer is pruned).
METHODS: dict[str, tuple[str, str]] = {
    **{name: ("uniform", name) for name in PRUNERS},
    **{f"owl_{name}": ("owl", name) for name in PRUNERS if name != "random"},
    "global_magnitude": ("global", "magnitude"),
}
