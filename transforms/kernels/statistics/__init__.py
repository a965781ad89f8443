"""What can be counted in a text: words, lines, repetitions."""
