"""The image that a tool's export means, however the tool spells its path.

Label Studio writes addresses, folders of its own machine and eight digits before a name; labelme
and X-AnyLabeling paths seen from where the JSON once lay; others quote signs (%20).
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

from datamodules.formats.layout import FileTree

# The address of an image below Label Studio's folder of local files.
LOCAL_FILES = "/data/local-files/?d="
UPLOAD_MARK = re.compile("(?:^|/)[0-9a-f]{8}-(?=[^/]+$)")
ELSEWHERE = re.compile(r"[a-z][a-z0-9+]*://|[a-z]:/|/|(?:\./)*\.\./", re.IGNORECASE)


def find_named(name: str, folders: Sequence[str], tree: FileTree) -> str:
    """The image called `name`, as `FileTree.find_image` finds it, else by one of its `spellings`.

    Raises ValueError for no image, and for a spelling that several images have.
    """
    try:
        return tree.find_image(name, folders)
    except ValueError:
        for spelling in spellings(name):
            if tree.find_ends(spelling):
                return tree.find_image(spelling, folders)
        raise


def leads_elsewhere(name: str) -> bool:
    """Whether a path starts at another machine's root or leads out of its folder."""
    return bool(ELSEWHERE.match(name.replace("\\", "/")))


def spellings(name: str) -> list[str]:
    """What a tool may have meant by a path, the likeliest first; without the path as it stands.

    Of one that leads elsewhere all its ends, the longest first; of each the name without %20 and
    its like, and without the mark that uploads get.
    """
    path = name.replace("\\", "/")
    if LOCAL_FILES in path:
        path = f"/{unquote(path.partition(LOCAL_FILES)[2])}"
    elif "://" in path:
        path = path.partition("?")[0]
    ends = [end for one in dict.fromkeys((path, unquote(path))) for end in _ends_of(one)]
    plain = sorted(ends, key=lambda end: -end.count("/"))
    bare = [one[found.end() :] for one in plain if (found := UPLOAD_MARK.search(one))]
    return [one for one in dict.fromkeys(plain + bare) if one not in ("", name)]


def _ends_of(path: str) -> list[str]:
    """All ends of a path that leads elsewhere, the longest first; any other path as it is."""
    found = ELSEWHERE.match(path)
    if not found:
        return [path]
    parts = [part for part in path[found.end() :].split("/") if part.strip(".") and part[1:] != ":"]
    return ["/".join(parts[start:]) for start in range(len(parts))]
