"""One Apache Beam pipeline from raw multilingual text to clean, de-duplicated, tokenized training data."""
