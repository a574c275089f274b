"""Both towers of a frozen CLIP: texts, images and patches of images as vectors of one space."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from lightning_modules.nets.image_encoder import to_clip_pixels
from lightning_modules.nets.text_encoder import read_tokenizer
from lightning_modules.weights_io import load_from_hub


class WholeClip:
    """CLIP by hub name or local folder.

    Not an nn.Module: hub weights stay out of checkpoints, averages and gradients, and a checkpoint
    made without it takes it.
    """

    def __init__(self, pretrained: str) -> None:
        self.pretrained = pretrained
        self._loaded: tuple[CLIPModel, CLIPTokenizer] | None = None

    def load(self) -> None:
        """Reads weights and tokenizer; ValueError in one line when they cannot be read."""
        try:
            config = CLIPConfig.from_pretrained(self.pretrained)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"clip {self.pretrained!r} could not be read: expected a local folder or a "
                "reachable hub name of a whole CLIP, such as openai/clip-vit-base-patch16; "
                "name another"
            ) from error
        with torch.device("meta"):
            like = CLIPModel(config)
        model = load_from_hub(CLIPModel, self.pretrained, "", like=like)
        tokenizer = read_tokenizer(self.pretrained, config.text_config.vocab_size)
        self._loaded = model.eval(), tokenizer

    @property
    def model(self) -> CLIPModel:
        """The towers and projections; RuntimeError before `load`."""
        if self._loaded is None:
            raise RuntimeError("clip has no weights yet: call load() first")
        return self._loaded[0]

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by before a softmax, learned by CLIP, at most 100."""
        return self.model.logit_scale.exp().clamp(max=100)

    def square_px(self, asked_px: int) -> int:
        """The side of the square to see images as: as asked, for 0 what CLIP was trained at.

        ValueError unless it is whole patches.
        """
        vision = self.model.vision_model.config
        side_px: int = asked_px or vision.image_size
        if side_px % vision.patch_size:
            raise ValueError(
                f"image_size_px is {side_px}: expected a multiple of {vision.patch_size}, the "
                f"side of a patch of clip {self.pretrained!r}"
            )
        return side_px

    def embed_texts(self, texts: list[str]) -> Tensor:
        """CLIP's projected embeddings (T, D) of texts."""
        model = self.model
        assert self._loaded is not None
        tokenized = self._loaded[1](
            texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt"
        )
        ids = tokenized.input_ids.to(model.device)
        return model.text_projection(model.text_model(input_ids=ids).pooler_output)

    def embed_prompted(self, texts: list[str], prompts: Tensor) -> Tensor:
        """As `embed_texts`, (T, D), of texts with vectors before them, which gradients reach.

        prompts: (T, N, C) tokens as the text tower has them, right after the one for the start. The
        tower is run by its parts, since as a whole it takes words alone. ValueError where there are
        more tokens than it reads.
        """
        text = self.model.to(prompts.device).text_model
        assert self._loaded is not None
        tokenizer = self._loaded[1]
        ids = tokenizer(texts, padding=True, return_tensors="pt").input_ids.to(prompts.device)
        words = text.embeddings.token_embedding(ids)
        tokens = torch.cat([words[:, :1], prompts, words[:, 1:]], dim=1)
        length, most = tokens.shape[1], text.config.max_position_embeddings
        if length > most:
            raise ValueError(
                f"a text of clip has {length} tokens, {prompts.shape[1]} of them learned: expected "
                f"{most} at most; learn fewer, or shorten {max(texts, key=len)!r}"
            )
        # No token looks at a later one, so that those after the end say nothing.
        later = torch.full((length, length), -torch.inf, device=tokens.device).triu(1)
        states = text.encoder(
            inputs_embeds=text.embeddings(inputs_embeds=tokens),
            attention_mask=later.to(tokens.dtype)[None, None],
        )
        ends = (ids == tokenizer.eos_token_id).int().argmax(1) + prompts.shape[1]
        last = states.last_hidden_state[torch.arange(len(ids), device=ids.device), ends]
        return self.model.text_projection(text.final_layer_norm(last))

    @torch.no_grad()
    def embed_patches(
        self, image: Tensor, last_tokens: "LastTokens", *, image_size_px: int
    ) -> tuple[Tensor, Tensor]:
        """Unit vectors of images, (B, D), and of their patches, (B, h, w, D).

        image: (B, 3, H, W) in [-1, 1], squashed to a square of `image_size_px`; where CLIP was
        trained at another size, its positions are interpolated. last_tokens: one of `TOWERS`.
        """
        vision = self.model.to(image.device).vision_model
        pixels = to_clip_pixels(image, image_size_px)
        embedded = vision.embeddings(pixels, interpolate_pos_encoding=True)
        tokens = last_tokens(vision.encoder.layers, vision.pre_layrnorm(embedded))
        vectors = self.model.visual_projection(vision.post_layernorm(tokens)).float()
        units = functional.normalize(vectors, dim=-1)
        side = image_size_px // vision.config.patch_size
        return units[:, 0], units[:, 1:].unflatten(1, (side, side))


LastTokens = Callable[[Iterable[CLIPEncoderLayer], Tensor], Tensor]


def own_tokens(layers: Iterable[CLIPEncoderLayer], tokens: Tensor) -> Tensor:
    """The tower's last tokens (B, L, C) from its first ones, the class token first."""
    for layer in layers:
        tokens = layer(tokens, attention_mask=None)
    return tokens


def value_value_tokens(
    layers: Iterable[CLIPEncoderLayer], tokens: Tensor, attended: list[Tensor] | None = None
) -> Tensor:
    """CLIP's own last class token, and patches of a second stream in which like sees like.

    There, at each layer, the values of the own tokens attend to each other, and no MLP follows
    (CLIP Surgery, Li et al. 2023; the tower of PromptAD, CVPR 2024). (B, L, C) as `own_tokens`.
    attended: gets the own tokens (B, L, C) of each layer, after its attention, before its MLP.
    """
    own = second = tokens
    for layer in layers:
        attention, normed = layer.self_attn, layer.layer_norm1(own)
        values = attention.v_proj(normed)
        heads = values.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(heads, heads, heads)
        second = second + attention.out_proj(mixed.transpose(1, 2).flatten(2))
        own = own + attention(normed, attention_mask=None)[0]
        if attended is not None:
            attended.append(own)
        own = own + layer.mlp(layer.layer_norm2(own))
    return torch.cat([own[:, :1], second[:, 1:]], dim=1)


TOWERS: dict[str, LastTokens] = {"vanilla": own_tokens, "vv": value_value_tokens}
