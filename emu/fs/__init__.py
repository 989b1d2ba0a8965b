"""The virtual file system and the file systems that every machine has."""
