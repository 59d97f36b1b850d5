"""Digests tell different contents apart, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from harness import digests


def test_tensors_of_every_kind_have_different_digests() -> None:
    kinds = {
        digests.of_tensors([("a", tensor)])
        for tensor in (
            torch.tensor(3), torch.tensor(4), torch.tensor([3]), torch.tensor(3.0, dtype=torch.bfloat16),
            torch.zeros(0), torch.zeros(2, 0), torch.tensor(True),
        )
    }  # fmt: skip
    assert len(kinds) == 7


def test_strides_do_not_count_but_names_and_order_do() -> None:
    tensor = torch.arange(6.0).reshape(2, 3)
    assert digests.of_tensors([("a", tensor)]) == digests.of_tensors([("a", tensor.T.contiguous().T)])
    pair = [("a", tensor), ("b", tensor + 1)]
    assert len({digests.of_tensors(p) for p in (pair, pair[::-1], [("b", tensor), ("a", tensor + 1)])}) == 3


def test_a_value_has_one_digest_whatever_the_order_of_its_keys(tmp_path: Path) -> None:
    assert digests.of_value({"a": 1, "b": [2]}) == digests.of_value({"b": [2], "a": 1})
    assert digests.of_value([1, 2]) != digests.of_value([2, 1])
    (tmp_path / "file").write_bytes(b"abc")
    assert digests.of_file(tmp_path / "file") == digests.of_bytes(b"abc") == hashlib.sha256(b"abc").hexdigest()
