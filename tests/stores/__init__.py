"""Google Cloud Storage and Azure Blob Storage on servers that speak their protocols: `make test-stores`."""
