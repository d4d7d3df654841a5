"""The editor of a PQL definition: rows of sentences and YAML as two views of one document."""
