"""Text of web pages: engines by name, each page in a process with limits."""
