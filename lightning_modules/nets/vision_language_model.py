"""A frozen model of transformers that is shown an image, asked a question, and answers in words."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedModel,
    ProcessorMixin,
)

from lightning_modules.weights_io import first_line, load_from_hub

# What the corners of boxes are in: thousandths of the image, or pixels of the image as resized.
REL1000, ABS_RESIZED = "rel1000", "abs_resized"
GRID = "image_grid_thw"
COORDINATES = {
    "qwen2_vl": REL1000,
    "qwen2_5_vl": ABS_RESIZED,
    "qwen3_vl": REL1000,
    "qwen3_vl_moe": REL1000,
}


class VisionLanguageModel:
    """An image-text-to-text model by hub name or local folder.

    coordinates: `rel1000` or `abs_resized`, "" for what the model's family says. Not an nn.Module:
    hub weights stay out of checkpoints. Raises ValueError for another word.
    """

    def __init__(self, pretrained: str, coordinates: str = "") -> None:
        if coordinates not in ("", REL1000, ABS_RESIZED):
            raise ValueError(
                f"coordinates is {coordinates!r}: expected {REL1000}, {ABS_RESIZED}, or '' for "
                "what the model's family is known for"
            )
        self.pretrained, self.coordinates = pretrained, coordinates
        self._loaded: tuple[PreTrainedModel, ProcessorMixin] | None = None

    def load(self) -> None:
        """Reads weights and processor; ValueError in one line when they cannot be read."""
        name = self.pretrained
        try:
            config = AutoConfig.from_pretrained(name)
            with torch.device("meta"):
                like = AutoModelForImageTextToText.from_config(config)
            processor = AutoProcessor.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"vision-language model {name!r} could not be read ({first_line(error)}): expected "
                "a local folder or a reachable hub name of a model that answers in words about "
                "images, such as Qwen/Qwen2.5-VL-7B-Instruct; name another"
            ) from error
        if getattr(processor, "image_token_id", None) != getattr(config, "image_token_id", None):
            # Without its files the library makes an empty tokenizer and says nothing.
            raise ValueError(
                f"tokenizer of {name!r} does not know the sign for an image as the weights do: put "
                "tokenizer.json beside the weights"
            )
        if not processor.chat_template:
            raise ValueError(
                f"vision-language model {name!r} has no chat template: expected one that was "
                "taught to answer, often called Instruct; name another"
            )
        self.coordinates = self.coordinates or COORDINATES.get(config.model_type, "")
        if not self.coordinates:
            raise ValueError(
                f"vision-language model {name!r} is of the family {config.model_type!r}, whose "
                f"boxes are in unknown units: set model.init_args.coordinates to {REL1000} or "
                f"{ABS_RESIZED}"
            )
        if self.coordinates == ABS_RESIZED and GRID not in processor.model_input_names:
            raise ValueError(
                f"coordinates is {ABS_RESIZED}, and the processor of {name!r} does not say to what "
                f"size it brings an image: set model.init_args.coordinates to {REL1000}"
            )
        model = load_from_hub(AutoModelForImageTextToText, name, "", like=like)
        self._loaded = model.eval(), processor

    @torch.no_grad()
    def answer(
        self, image: Tensor, system: str, question: str, *, most_tokens: int
    ) -> tuple[str, tuple[float, float]]:
        """The answer, always its likeliest next word, special tokens included, and its units.

        image: (3, H, W) in [-1, 1], on the device to compute on; most_tokens: where the answer is
        cut. The units are what the image's width and height are in the coordinates of boxes.
        RuntimeError before `load`.
        """
        if self._loaded is None:
            raise RuntimeError("the vision-language model has no weights yet: call load() first")
        model, processor = self._loaded
        said = {"role": "system", "content": [{"type": "text", "text": system}]}
        asked = [{"type": "image"}, {"type": "text", "text": question}]
        prompt = processor.apply_chat_template(
            [said, {"role": "user", "content": asked}], add_generation_prompt=True
        )
        pixels = ((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0)
        shown = Image.fromarray(np.ascontiguousarray(pixels.cpu().numpy()))
        inputs = processor(text=[prompt], images=[shown], return_tensors="pt")
        inputs = inputs.to(image.device, dtype=model.dtype)
        tokens = model.to(image.device).generate(
            **inputs, do_sample=False, max_new_tokens=most_tokens
        )
        new = tokens[:, inputs["input_ids"].shape[1] :]
        [text] = processor.batch_decode(new, skip_special_tokens=False)
        if self.coordinates == REL1000:
            return text, (1000.0, 1000.0)
        _, rows, columns = inputs[GRID][0].tolist()
        patch_px = processor.image_processor.patch_size
        return text, (float(columns * patch_px), float(rows * patch_px))
