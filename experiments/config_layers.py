"""How the layers of a configuration lie over each other."""

from collections.abc import Mapping, Sequence

from experiments.typed_words import TypedMapping


def merge_layers(lower: Mapping[str, object], upper: Mapping[str, object]) -> dict[str, object]:
    """Both layers as one; mappings merge key by key, everything else is replaced by `upper`.

    An upper class_path that is another replaces the node whole: init_args of the old class would
    mean nothing to the new one. Keys that are numbers reach into a list. Callbacks join those below
    but for those of the same class; none at all empties the list. An upper manifest takes the place
    of a lower source and its root, and the other way round.
    """
    if "class_path" in upper and lower.get("class_path") not in (None, upper["class_path"]):
        return dict(upper)
    merged = dict(lower)
    if upper.get("manifest") and not upper.get("source"):
        merged = {key: value for key, value in merged.items() if key not in ("source", "root")}
    elif upper.get("source") and "manifest" not in upper:
        merged.pop("manifest", None)
    for key, value in upper.items():
        below = merged.get(key)
        if isinstance(value, TypedMapping):
            merged[key] = value
        elif isinstance(below, list) and isinstance(value, Mapping):
            merged[key] = _merge_items(key, below, value)
        elif key == "callbacks" and value and isinstance(below, list) and isinstance(value, list):
            merged[key] = [*_others(below, value), *value]
        elif isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_layers(below, value)
        else:
            merged[key] = value
    return merged


def _merge_items(key: str, items: Sequence[object], upper: Mapping[str, object]) -> list[object]:
    """The list with the items that `upper` numbers merged; ValueError for one that is not there."""
    merged = list(items)
    for part, value in upper.items():
        if not part.isdigit() or int(part) >= len(merged):
            raise ValueError(
                f"{key}: got the item {part!r} of a list, expected a number below {len(merged)}"
            )
        # By way of a mapping, so that both kinds of value merge as everywhere.
        merged[int(part)] = merge_layers({"item": merged[int(part)]}, {"item": value})["item"]
    return merged


def _others(lower: Sequence[object], upper: Sequence[object]) -> list[object]:
    """The nodes of lower whose class no node of upper has."""
    classes = [node.get("class_path") if isinstance(node, Mapping) else None for node in upper]
    return [
        node
        for node in lower
        if not isinstance(node, Mapping) or node.get("class_path") not in classes
    ]
