"""Where a sweep's files lie: its folder and lock, a second home in shared storage, checkpoints, the lease."""

from harness.storage.checkpoints import AnyCheckpointFolders, CheckpointFolders
from harness.storage.folder import is_locked, locked, writable
from harness.storage.storage import Storage

__all__ = ["AnyCheckpointFolders", "CheckpointFolders", "Storage", "is_locked", "locked", "writable"]
