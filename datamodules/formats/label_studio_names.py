"""File names as Label Studio exports them -> what the pictures may have been called before."""

import re
from urllib.parse import unquote

# The address of a picture below its folder of local files.
LOCAL_FILES = "/data/local-files/?d="
# Eight digits and a dash stand before the name of every uploaded picture.
_UPLOADED = re.compile(r"[0-9a-f]{8}-(.+)")


def original_names(file_name: str) -> list[str]:
    """The names to look for where there is no picture `file_name`, the longest path first.

    Of a local file, named by its address or by a path that leads out of the export, the path and
    its ends; of an upload the bare name, for Label Studio forgets its folder. Else none.
    """
    path = file_name.replace("\\", "/")
    uploaded = _UPLOADED.fullmatch(path.rpartition("/")[2])
    if uploaded:
        return [uploaded[1]]
    if LOCAL_FILES in path:
        path = "../" + unquote(path.partition(LOCAL_FILES)[2])
    if not path.startswith("../"):
        return []
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return ["/".join(parts[start:]) for start in range(len(parts))]
