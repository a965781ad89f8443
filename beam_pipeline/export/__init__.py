"""What the command does for an export: settings, plan, running, the data card, questions."""
