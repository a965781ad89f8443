"""The subcommands of ``python -m beam_pipeline`` beside the run itself."""
