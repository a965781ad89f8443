"""What is changed in texts: lines that go, encodings that are mended, personal data that is masked."""
