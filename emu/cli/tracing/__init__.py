"""The commands of ``unimmu trace``: each module has ``add_arguments(parser)`` and ``run(arguments) -> int``."""
