"""Files in a folder, on this machine or behind a URL: read, verified and cached, written."""

from mmidd.storage.ahead import ReadAhead
from mmidd.storage.cache import Cache
from mmidd.storage.location import Folder, open_folder
from mmidd.storage.transfers import Transfers

__all__ = ["Cache", "Folder", "ReadAhead", "Transfers", "open_folder"]
