"""The core: transforms that SQL says badly; frame in, frame out."""
