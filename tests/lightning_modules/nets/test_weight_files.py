"""Holds that weights come whole from a local file, or with one line that says what is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lightning_modules.nets.weight_files import fill, read_safetensors, read_state_dict

Read = Callable[[Path], dict[str, Tensor]]
READERS = pytest.mark.parametrize("read", [read_safetensors, read_state_dict])


def write(read: Read, file: Path) -> bytes:
    """A file of 1000 weights in the reader's form."""
    (save_file if read is read_safetensors else torch.save)({"a": torch.arange(1e3)}, file)
    return file.read_bytes()


def refusal(work: Callable[[], object], kind: type[Exception] = ValueError) -> str:
    with pytest.raises(kind) as caught:
        work()
    return str(caught.value)


@READERS
def test_weights_are_read_as_written(tmp_path: Path, read: Read) -> None:
    write(read, tmp_path / "w")
    assert read(tmp_path / "w")["a"].sum() == 999 * 500


@READERS
def test_a_missing_file_is_one_line(tmp_path: Path, read: Read) -> None:
    line = refusal(lambda: read(tmp_path / "w"), FileNotFoundError)
    assert "are missing: expected a local file" in line and "\n" not in line


@READERS
@pytest.mark.parametrize("kept", [0, 10, 600, 2000])
def test_a_file_cut_short_is_one_line(tmp_path: Path, read: Read, kept: int) -> None:
    file = tmp_path / "w"
    file.write_bytes(write(read, file)[:kept])
    line = refusal(lambda: read(file))
    assert "cannot be read" in line and "\n" not in line


def test_a_flipped_bit_in_a_torch_file_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "w"
    content = bytearray(write(read_state_dict, file))
    content[content.index(torch.tensor(500.0).numpy().tobytes())] ^= 1
    file.write_bytes(content)
    assert "is damaged" in refusal(lambda: read_state_dict(file))


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "w")
    assert "plain tensors" in refusal(lambda: read_state_dict(tmp_path / "w"))


def test_other_things_than_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"a": 1}, tmp_path / "w")
    assert "tensors by name" in refusal(lambda: read_state_dict(tmp_path / "w"))


def test_half_precision_fills_a_float_net() -> None:
    net = nn.Linear(1, 1, bias=False)
    fill(net, {"weight": torch.tensor([[0.5]]).half()}, Path("w"))
    assert net.weight.dtype == torch.float32 and net.weight.item() == 0.5


def test_a_norm_may_lack_its_count_of_batches() -> None:
    net, state = nn.BatchNorm2d(2), nn.BatchNorm2d(2).state_dict()
    state["bias"] = torch.ones(2)
    fill(net, {key: value for key, value in state.items() if "num" not in key}, Path("w"))
    assert net.bias.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("state", "claim"),
    [
        ({"weight": torch.zeros(1, 1)}, "lack 'bias' (1 such)"),
        ({"weight": torch.zeros(1, 1), "bias": torch.zeros(1), "c": torch.zeros(1)}, "unknown 'c'"),
        ({"weight": torch.zeros(2, 1), "bias": torch.zeros(1)}, "size mismatch for weight"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(state: dict[str, Tensor], claim: str) -> None:
    line = refusal(lambda: fill(nn.Linear(1, 1), state, Path("w")))
    assert claim in line and "\n" not in line
