"""Web pages: HTTP messages, charsets, and which part of a page is its text."""
