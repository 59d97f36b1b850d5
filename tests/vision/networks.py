"""Random networks of the true shape, in the files that open_clip, transformers and torch-fidelity read."""

from __future__ import annotations

import io
import json
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

ARCHITECTURE = "ViT-B-32-quickgelu"


def save_clips(file: Path, folder: Path) -> None:
    """Save one ViT-B/32 twice: as open_clip has it in a file, and as transformers has it in a folder."""
    import open_clip
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    state = open_clip.create_model(ARCHITECTURE).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    model = CLIPModel(CLIPConfig())
    model.load_state_dict(to_transformers(state))
    model.save_pretrained(folder)
    save_tokenizer(folder)
    CLIPImageProcessorPil().save_pretrained(folder)


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return open_clip's tensors under transformers' names; attention has q, k and v apart there."""
    parts = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
    parts |= {"attn.out_proj": "self_attn.out_proj"}
    whole = {
        "logit_scale": "logit_scale",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    }
    for kind in ("weight", "bias"):
        whole[f"ln_final.{kind}"] = f"text_model.final_layer_norm.{kind}"
        whole[f"visual.ln_pre.{kind}"] = f"vision_model.pre_layrnorm.{kind}"
        whole[f"visual.ln_post.{kind}"] = f"vision_model.post_layernorm.{kind}"
    renamed = {"text_projection.weight": state["text_projection"].T, "visual_projection.weight": state["visual.proj"].T}
    for name, tensor in state.items():
        if name in whole:
            renamed[whole[name]] = tensor
        elif "resblocks" in name:
            side, _, rest = name.partition("transformer.resblocks.")
            layer, _, rest = rest.partition(".")
            prefix = f"{'vision' if side else 'text'}_model.encoder.layers.{layer}."
            if rest.startswith("attn.in_proj_"):
                kind = rest.removeprefix("attn.in_proj_")
                for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                    renamed[f"{prefix}self_attn.{letter}_proj.{kind}"] = third
            else:
                part, _, kind = rest.rpartition(".")
                renamed[f"{prefix}{parts[part]}.{kind}"] = tensor
    return {name: tensor.contiguous() for name, tensor in renamed.items()}


def save_tokenizer(folder: Path) -> None:
    """Save the byte pairs that open_clip brings along, as transformers' tokenizer."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    theirs = SimpleTokenizer()
    vocabulary = {token: i for token, i in theirs.encoder.items() if i < 49406}
    vocabulary |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    merges = "\n".join(" ".join(pair) for pair in theirs.bpe_ranks)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    words, pairs = str(folder / "vocab.json"), str(folder / "merges.txt")
    CLIPTokenizer(words, pairs, model_max_length=77).save_pretrained(folder)


def save_alexnet(path: Path) -> None:
    """Save torchvision's AlexNet, randomly initialised, as its own file is laid out."""
    import torchvision

    path.parent.mkdir(parents=True)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), path)


def save_inception(path: Path) -> None:
    """Save torch-fidelity's network with weights that keep the size of activations, as its own file is laid out."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    # It has no other way to be made without a file.
    with mock.patch.object(FeatureExtractorInceptionV3, "load_state_dict"):
        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=nothing)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
