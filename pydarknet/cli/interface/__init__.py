"""The commands as the user writes them: names, arguments, options, help. Nothing here imports a large package."""
