"""Pre-trained weights by hub name or local folder, with one clear error when they are not there."""

from collections.abc import Collection, Mapping
from typing import Protocol, TypeVar

from safetensors import SafetensorError
from torch import nn


class HubClass(Protocol):
    """A diffusers or transformers class that reads weights by name."""

    def from_pretrained(
        self, name: str, **settings: object
    ) -> tuple[nn.Module, Mapping[str, Collection[str]]]:
        """The net with the weights of that name, and, where asked for, what was missing."""


Net = TypeVar("Net", bound=nn.Module)


def load_from_hub(hub_class: HubClass, name: str, subfolder: str, *, like: Net) -> Net:
    """The net `name` (a hub name or a folder) with weights, checked against the shape of `like`.

    Raises ValueError when the weights cannot be found, are not all there, or have other shapes
    than the config says.
    """
    try:
        net, report = hub_class.from_pretrained(name, subfolder=subfolder, output_loading_info=True)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"weights {name!r} could not be read ({reason}): expected a local folder or a "
            "reachable hub name; download them once on a machine with a network and name the folder"
        ) from error
    if missing := sorted(report["missing_keys"]):
        # The library fills these with random numbers and goes on.
        raise ValueError(
            f"weights {name!r} lack {len(missing)} tensors of the net, first {missing[0]!r}: "
            "expected those of the whole net; name another folder or hub name"
        )
    expected = {key: tuple(value.shape) for key, value in like.state_dict().items()}
    got = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    different = sorted(set(expected.items()) ^ set(got.items()))
    if different:
        raise ValueError(
            f"weights {name!r} do not fit the configured net, first at {different[0][0]!r}: "
            "set the config's widths to those of the weights"
        )
    net.requires_grad_(False)
    return net  # type: ignore[return-value]
